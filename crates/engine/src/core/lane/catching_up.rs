//! The ramp-up of a lane after a hold. Sending starts slowly, because the endpoint may have been down.

use std::time::Duration;

use stackbell_model::Timestamp;

/// The pace of a lane after a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CatchingUp {
    pub(super) not_before: Timestamp,
    interval: Duration,
    /// True if the first attempt has ended. Until then no other attempt begins.
    pub(super) is_answered: bool,
}

impl CatchingUp {
    /// A shorter interval ends the ramp-up: it would not limit the lane.
    const INTERVAL_MIN: Duration = Duration::from_millis(5);

    pub(super) fn new(interval: Duration, now: Timestamp) -> Self {
        Self { not_before: now, interval, is_answered: false }
    }

    pub(super) fn after(self, now: Timestamp) -> Self {
        Self { not_before: now.after(self.interval), ..self }
    }

    pub(super) fn answered(self) -> Self {
        Self { is_answered: true, ..self }
    }

    /// Shortens the interval by a fifth; `None` at full speed.
    pub(super) fn faster(self) -> Option<Self> {
        let interval = self.interval * 4 / 5;
        (interval >= Self::INTERVAL_MIN).then_some(Self { interval, is_answered: true, ..self })
    }
}
