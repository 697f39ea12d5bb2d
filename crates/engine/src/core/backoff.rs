//! Backoff after failed commits. No new attempts begin while outcomes cannot be recorded.

use std::time::Duration;

use stackbell_model::Timestamp;

use super::messages::CommitFault;

/// Whether outcomes can be recorded. Otherwise no new attempts begin: their deliveries would be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    Works,
    /// The last commit failed, and there is nothing to commit now.
    Untried,
    Fails,
}

/// The wait between failed commits, which grows with each failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failing: Option<(Timestamp, Duration, CommitFault)>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);

    pub(super) fn until(&self) -> Option<Timestamp> {
        self.failing.map(|(until, ..)| until)
    }

    pub(super) fn holds(&self, now: Timestamp) -> Option<CommitFault> {
        self.failing.filter(|(until, ..)| *until > now).map(|(.., fault)| fault)
    }

    /// Whether outcomes can be recorded now. `is_trying` is true if there is something to commit, which will show it soon.
    pub(super) fn recording(&self, now: Timestamp, is_trying: bool) -> Recording {
        match self.failing {
            None => Recording::Works,
            Some((until, ..)) if until > now || is_trying => Recording::Fails,
            Some(_) => Recording::Untried,
        }
    }

    pub(super) fn fail(&mut self, now: Timestamp, fault: CommitFault) {
        let wait = self.failing.map_or(Self::FIRST, |(_, wait, _)| (wait * 2).min(Self::LAST));
        self.failing = Some((now.after(wait), wait, fault));
    }
}
