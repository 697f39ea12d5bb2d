//! Having ended deliveries tried anew: one, or all of a webhook as a job.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::recovery::Recovery;

use crate::StoreError;
use crate::audit::AuditEntry;

/// What became of a change to one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryChange {
    /// It is made. Its webhook's lane may have something due.
    Done {
        /// The delivery's webhook.
        webhook: WebhookId,
    },
    /// There is no such delivery, or it is a ping.
    Missing,
    /// Nothing was changed: in this state it cannot be.
    State(StateKind),
    /// Nothing was changed: its webhook was deleted. Looked at before its state is.
    WebhookDeleted,
}

/// What became of a new recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryCreated {
    /// It is in.
    Done,
    /// The webhook is not there.
    WebhookMissing,
    /// The webhook has one that is running.
    Running {
        /// That one.
        id: RecoveryId,
    },
}

/// Having deliveries tried anew, and giving them up. Pings are none of this: each is over with its one attempt.
#[async_trait]
pub trait Recoveries: Send + Sync {
    /// Cancels a pending delivery at `audit.at`, by `audit.actor`. An attempt of it that is under way goes on, and its
    /// outcome is superseded.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn cancel_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError>;

    /// Has a delivery tried at `audit.at` by its schedule: a pending one keeps what it has spent; a failed or cancelled one
    /// begins anew ([`stackbell_model::delivery::Delivery::rearmed_at`], nothing spent).
    /// It is due then, or just before whatever else of its webhook is due before: it goes first, even where single attempts
    /// find out whether the endpoint is back. A leased one stays leased. A succeeded one is left alone.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn retry_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError>;

    /// How many failed or cancelled deliveries (pings aside) of a webhook were made at or after `since`.
    /// May cost a scan of as many index entries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_recoverable(&self, webhook: WebhookId, since: Timestamp) -> Result<u64, StoreError>;

    /// Inserts a recovery that is running and has done nothing, unless its webhook is gone or has one running.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_recovery(
        &self,
        recovery: &Recovery,
        audit: AuditEntry,
    ) -> Result<RecoveryCreated, StoreError>;

    /// The recovery of this organization with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn recovery(
        &self,
        organization: OrganizationId,
        id: RecoveryId,
    ) -> Result<Option<Recovery>, StoreError>;

    /// Up to `limit` recoveries of an organization, newest first, older than `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_recoveries(
        &self,
        organization: OrganizationId,
        before: Option<RecoveryId>,
        limit: u32,
    ) -> Result<Vec<Recovery>, StoreError>;

    /// Up to `limit` running recoveries of all organizations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn running_recoveries(&self, limit: u32) -> Result<Vec<Recovery>, StoreError>;

    /// Does the next step of a running recovery: of its deliveries that are failed or cancelled (since no later than it
    /// was asked for), pings aside, up to `rows_max` become pending as [`Self::retry_delivery`] says, due at `now`: those
    /// that were made first, then by id. A step that finds fewer
    /// than `rows_max` ends the recovery; one whose webhook was deleted abandons it.
    /// No delivery is made pending twice by one recovery, whatever becomes of it meanwhile.
    /// Gives the recovery as it stands then; `None` when there is no such one. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]; the step was not done, unless it is [`StoreError::Unknown`].
    async fn advance_recovery(
        &self,
        id: RecoveryId,
        now: Timestamp,
        rows_max: u32,
    ) -> Result<Option<Recovery>, StoreError>;
}
