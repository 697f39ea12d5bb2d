use std::time::Duration;

use async_trait::async_trait;
use stackbell_engine::shell::WaitingClock;
use stackbell_model::{Clock, Timestamp};
use tokio::sync::watch;

/// A clock that stands still until the test advances it.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock set to `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// Advances the clock, and wakes all sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }

    /// Advances the clock to `at`, and wakes all sleepers whose time has come. The clock never goes backwards.
    pub fn advance_to(&self, at: Timestamp) {
        self.0.send_modify(|now| *now = at.max(*now));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
}

#[async_trait]
impl WaitingClock for ManualClock {
    async fn sleep_until(&self, at: Timestamp) {
        let reached = self.0.subscribe().wait_for(|now| *now >= at).await.is_ok();
        debug_assert!(reached, "the sender is ours, and we are borrowed");
    }
}
