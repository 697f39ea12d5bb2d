//! What concerns the installation as a whole.

use async_trait::async_trait;
use stackbell_model::Timestamp;

use crate::StoreError;
use crate::audit::AuditEntry;

/// Nothing is sent to any endpoint until somebody resumes: pings and redeliveries aside, which somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingHold {
    /// Since when.
    pub since: Timestamp,
    /// Why, in words for people.
    pub reason: Box<str>,
}

/// Holding and resuming all sending. It binds who sends, who looks here first: the queue leases as ever, and says with
/// each lease and each commit whether sending is held.
/// What waits meanwhile may grow as old as a held webhook's deliveries may, then and after it was resumed.
#[async_trait]
pub trait Instance: Send + Sync {
    /// Why nothing is sent; `None` when sending goes on.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError>;

    /// Holds all sending; `false` when it is held already, which then stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError>;

    /// Resumes sending; `false` when it is not held. Every webhook counts as one whose hold ended at `audit.at`
    /// ([`stackbell_model::health::Health::hold_ended_at`]).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn resume_sending(&self, audit: AuditEntry) -> Result<bool, StoreError>;
}
