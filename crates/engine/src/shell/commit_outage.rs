//! Logs an outage of commits once, however many commits fail in it.

use stackbell_model::Chain;
use stackbell_store::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether commits fail. The tasks that commit share it.
#[derive(Debug, Default)]
pub(super) struct CommitOutage {
    is_on: AtomicBool,
}

impl CommitOutage {
    /// Notes a successful commit.
    pub(super) fn succeeded(&self) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            tracing::info!("commits go through again");
        }
    }

    /// Notes a failed commit. The first failure is logged as an error. Later ones look the same, and there may be a thousand a
    /// second, so they are logged at debug level. A row that cannot be read fails one commit, and is logged each time.
    pub(super) fn failed(&self, error: &StoreError) {
        let is_one_row = matches!(error, StoreError::Corrupt { .. });
        let error = Chain(error);
        if is_one_row {
            tracing::error!(%error, "a commit failed because of one row; what else was in it is tried alone");
            return;
        }
        let was_on = self.is_on.swap(true, Ordering::Relaxed);
        if was_on {
            tracing::debug!(%error, "a commit failed again");
        } else {
            tracing::error!(
                %error,
                "no commit goes through: producers are told to come back, and outcomes are recorded later"
            );
        }
    }
}
