//! Recovery: all failed and cancelled deliveries of a webhook since a time, tried anew.
//!
//! A job in the store, done in steps of bounded size, so that a crash between two of them loses and repeats nothing.

use crate::Timestamp;
use crate::ids::{OrganizationId, RecoveryId, WebhookId};

/// A recovery's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Whose deliveries.
    pub webhook: WebhookId,
    /// Of those made from this moment on, inclusive.
    pub since: Timestamp,
    /// When it was asked for. What ended later is left alone.
    pub created_at: Timestamp,
    /// Who asked for it.
    pub created_by: Box<str>,
    /// How many deliveries it was to be, when it was asked for. Retention and people may have taken some since.
    pub total: u64,
    /// How many have been made pending again so far.
    pub rearmed: u64,
    /// Where it stands.
    pub state: RecoveryState,
}

/// Where a recovery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryState {
    /// There may be more to do.
    Running,
    /// All is pending again; whether it arrives is the deliveries' own story.
    Done {
        /// Since when.
        at: Timestamp,
    },
    /// Its webhook was deleted before the end.
    Abandoned {
        /// Since when.
        at: Timestamp,
    },
}

impl RecoveryState {
    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done { .. } => "done",
            Self::Abandoned { .. } => "abandoned",
        }
    }
}
