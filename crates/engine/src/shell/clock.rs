use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::{Clock, Timestamp};
use stackbell_system::SystemClock;

/// A clock that one can wait for.
#[async_trait]
pub trait WaitingClock: Clock {
    /// Returns once it is `at` or later. May return too early; never sleeps through a change of the clock that passes `at`.
    async fn sleep_until(&self, at: Timestamp);
}

/// A system clock that jumps ahead is noticed within this time.
const NAP_MAX: Duration = Duration::from_secs(60);

#[async_trait]
impl WaitingClock for SystemClock {
    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now()).min(NAP_MAX)).await;
    }
}
