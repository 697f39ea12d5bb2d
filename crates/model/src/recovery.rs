//! Recovery: retries all failed and cancelled deliveries of a webhook since a given time.
//!
//! A recovery is a job in the store. It runs in steps of bounded size, so a crash between two steps loses and
//! repeats nothing.

use crate::Timestamp;
use crate::ids::{OrganizationId, RecoveryId, WebhookId};

/// A row of the recoveries table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// Its organization.
    pub organization: OrganizationId,
    /// The webhook whose deliveries are retried.
    pub webhook: WebhookId,
    /// Deliveries created from this time on are retried (inclusive).
    pub since: Timestamp,
    /// When it was requested. Deliveries that ended later are left alone.
    pub created_at: Timestamp,
    /// The actor that requested it.
    pub created_by: Box<str>,
    /// The number of matching deliveries at the time of the request. Retention and users may have removed
    /// some since.
    pub total: u64,
    /// The number of deliveries made pending again so far.
    pub rearmed: u64,
    /// Its state.
    pub state: RecoveryState,
}

/// The state of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryState {
    /// There may be more deliveries to retry.
    Running,
    /// All deliveries are pending again; their own states show whether they arrive.
    Done {
        /// When it finished.
        at: Timestamp,
    },
    /// Its webhook was deleted before it finished.
    Abandoned {
        /// When it was abandoned.
        at: Timestamp,
    },
}

impl RecoveryState {
    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done { .. } => "done",
            Self::Abandoned { .. } => "abandoned",
        }
    }
}
