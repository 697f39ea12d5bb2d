//! Retries of ended deliveries: of one, or of all deliveries of a webhook as a job.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::recovery::Recovery;

use crate::StoreError;
use crate::audit::AuditEntry;

/// The result of a change to one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryChange {
    /// The change was made. The lane of the webhook may have a due delivery now.
    Done {
        /// The delivery's webhook.
        webhook: WebhookId,
    },
    /// There is no such delivery, or it is a ping.
    Missing,
    /// Nothing was changed: the delivery's state does not allow it.
    State(StateKind),
    /// Nothing was changed: its webhook was deleted. This is checked before the delivery's state.
    WebhookDeleted,
}

/// The result of creating a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryCreated {
    /// The recovery was created.
    Done,
    /// The webhook does not exist.
    WebhookMissing,
    /// The webhook has a running recovery.
    Running {
        /// Its id.
        id: RecoveryId,
    },
}

/// Retries and cancels deliveries. Pings are excluded: each has a single attempt.
#[async_trait]
pub trait Recoveries: Send + Sync {
    /// Cancels a pending delivery at `audit.at`, by `audit.actor`. An attempt in flight continues and is
    /// recorded. A 2xx makes the delivery succeeded; any other outcome leaves it cancelled.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn cancel_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError>;

    /// Makes a delivery due at `audit.at`. A pending delivery keeps its spent attempts. A failed or cancelled
    /// one starts over ([`stackbell_model::delivery::Delivery::rearmed_at`], no attempts spent). A succeeded
    /// one is left alone.
    ///
    /// If other deliveries of the webhook are due earlier, the delivery is due just before them: it goes
    /// first, even where single attempts test whether the endpoint has recovered. A leased delivery stays
    /// leased.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn retry_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError>;

    /// Counts the failed or cancelled deliveries (without pings) of a webhook that were created at or after
    /// `since`.
    /// It may scan that many index entries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_recoverable(&self, webhook: WebhookId, since: Timestamp) -> Result<u64, StoreError>;

    /// Inserts a recovery that has not done any work yet, unless its webhook is deleted or has a running one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_recovery(
        &self,
        recovery: &Recovery,
        audit: AuditEntry,
    ) -> Result<RecoveryCreated, StoreError>;

    /// Returns an organization's recovery with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn recovery(
        &self,
        organization: OrganizationId,
        id: RecoveryId,
    ) -> Result<Option<Recovery>, StoreError>;

    /// Returns up to `limit` recoveries of an organization, newest first, older than `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_recoveries(
        &self,
        organization: OrganizationId,
        before: Option<RecoveryId>,
        limit: u32,
    ) -> Result<Vec<Recovery>, StoreError>;

    /// Returns up to `limit` running recoveries of all organizations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn running_recoveries(&self, limit: u32) -> Result<Vec<Recovery>, StoreError>;

    /// Does the next step of a running recovery. It takes up to `rows_max` of its deliveries, in the order of
    /// creation and then by id, that failed or were cancelled by the time of its creation. Pings are
    /// excluded. These deliveries become pending and due at `now`, like in [`Self::retry_delivery`].
    ///
    /// A step that finds fewer than `rows_max` deliveries ends the recovery. If the webhook was deleted, the
    /// recovery is abandoned. A recovery makes no delivery pending twice, whatever happens to it in between.
    ///
    /// Returns the recovery after the step; `None` if it does not exist. A recovery that has ended stays as
    /// it is.
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
