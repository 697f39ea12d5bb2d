//! Telling of the store's trouble once, however many commits fail in it.

use stackbell_model::Chain;
use stackbell_store::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether commits go through. Shared by those who make them.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    is_on: AtomicBool,
}

impl Trouble {
    /// A commit went through.
    pub(super) fn over(&self) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            tracing::info!("commits go through again");
        }
    }

    /// A commit failed. The first one is told of; those after it look the same, and there may be a thousand a second.
    /// A row that cannot be read is another matter: it is one commit's.
    pub(super) fn on(&self, error: &StoreError) {
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
