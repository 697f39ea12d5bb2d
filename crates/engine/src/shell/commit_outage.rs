//! Logs one line for an outage of commits, however many commits fail during it.

use stackbell_model::Chain;
use stackbell_store::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether commits are failing now. All tasks that commit share this state.
#[derive(Debug, Default)]
pub(super) struct CommitOutage {
    is_on: AtomicBool,
}

impl CommitOutage {
    /// Records a successful commit.
    pub(super) fn succeeded(&self) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            tracing::info!("commits work again");
        }
    }

    /// Records a failed commit. The first failure of an outage is logged as an error. Later failures are logged at debug level,
    /// because there can be a thousand a second. An unreadable row fails only its own commit and is always logged as an error.
    pub(super) fn failed(&self, error: &StoreError) {
        let is_one_row = matches!(error, StoreError::Corrupt { .. });
        let error = Chain(error);
        if is_one_row {
            tracing::error!(%error, "a commit failed because of an unreadable row; its other items are retried without it");
            return;
        }
        let was_on = self.is_on.swap(true, Ordering::Relaxed);
        if was_on {
            tracing::debug!(%error, "a commit failed again");
        } else {
            tracing::error!(%error, "commits are failing: producers get 503, and outcomes are recorded later");
        }
    }
}
