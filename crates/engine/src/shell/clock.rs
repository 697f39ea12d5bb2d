use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use stackbell_model::{Clock, Timestamp};

/// A clock that one can wait for.
#[async_trait]
pub trait WaitingClock: Clock {
    /// Returns once it is `at` or later. May return too early; never sleeps through a change of the clock that passes `at`.
    async fn sleep_until(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A system clock that jumps ahead is noticed within this time.
const NAP_MAX: Duration = Duration::from_secs(60);

#[async_trait]
impl WaitingClock for SystemClock {
    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now()).min(NAP_MAX)).await;
    }
}
