use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::{Clock, Timestamp};
use stackbell_system::SystemClock;

/// A clock with a timer.
#[async_trait]
pub trait WaitingClock: Clock {
    /// Returns at or after the time `at`. It may return early, but a clock that jumps past `at` always ends the sleep.
    async fn sleep_until(&self, at: Timestamp);
}

/// A jump of the system clock is noticed within this time.
const NAP_MAX: Duration = Duration::from_secs(60);

#[async_trait]
impl WaitingClock for SystemClock {
    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now()).min(NAP_MAX)).await;
    }
}
