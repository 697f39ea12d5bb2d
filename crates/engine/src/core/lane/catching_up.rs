//! A lane that was held goes on slowly at first: its endpoint may have been down.

use std::time::Duration;

use stackbell_model::Timestamp;

/// How a lane that was held goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CatchingUp {
    pub(super) not_before: Timestamp,
    interval: Duration,
    /// Whether the first attempt has ended. Until then it is the only one.
    pub(super) is_answered: bool,
}

impl CatchingUp {
    /// Shorter than this it paces nothing.
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

    /// A fifth faster; `None` once it is at full speed.
    pub(super) fn faster(self) -> Option<Self> {
        let interval = self.interval * 4 / 5;
        (interval >= Self::INTERVAL_MIN).then_some(Self { interval, is_answered: true, ..self })
    }
}
