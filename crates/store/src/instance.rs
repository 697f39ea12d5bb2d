//! Operations on the instance as a whole.

use async_trait::async_trait;
use stackbell_model::Timestamp;

use crate::StoreError;
use crate::audit::AuditEntry;

/// A hold on all sending until an operator resumes it. Pings and redeliveries are still sent, because users
/// request them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingHold {
    /// When it began.
    pub since: Timestamp,
    /// The reason, for users.
    pub reason: Box<str>,
}

/// Holds and resumes all sending. The hold binds the senders, which check it: the queue still leases
/// deliveries, and reports the hold with each lease and each commit.
/// Deliveries that wait during a hold have the age limit of a held webhook's deliveries, also after the
/// resume.
#[async_trait]
pub trait Instance: Send + Sync {
    /// Returns the hold; `None` if sending is not on hold.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError>;

    /// Holds all sending; `false` if it is on hold already, and then the existing hold stays.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError>;

    /// Resumes sending; `false` if it is not on hold. Every webhook counts as one whose hold ended at
    /// `audit.at` ([`stackbell_model::health::Health::hold_ended_at`]).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn resume_sending(&self, audit: AuditEntry) -> Result<bool, StoreError>;
}
