//! What nobody waits for.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::retry::RetryPolicy;

use crate::StoreError;

/// What a sweep is to do.
#[derive(Clone, Debug)]
pub struct SweepPolicy {
    /// By whose ages pending deliveries expire.
    pub retry: RetryPolicy,
    /// Deliveries (pings too) finished before this go with their attempts, and events with none left accepted before it.
    /// A store that keeps what happened by day may keep it until the whole day is past, and an event for a day more.
    pub finished_before: Timestamp,
    /// Audit entries, ended recoveries and hours of statistics before this go.
    pub audit_before: Timestamp,
    /// The most rows of each sort that one sweep touches, so that it never holds up the engine.
    pub rows_max: u32,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Pending deliveries of deleted webhooks that are now cancelled.
    pub cancelled: u64,
    /// Pending, unleased deliveries that were too old ([`RetryPolicy::is_expired`]) and are now failed.
    pub expired: u64,
    /// Finished deliveries that are gone.
    pub deliveries_removed: u64,
    /// Events that are gone.
    pub events_removed: u64,
    /// Audit entries that are gone.
    pub audit_removed: u64,
    /// Whether a limit was reached, so that there may be more to do now.
    pub more: bool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Pending deliveries, held ones included: the sum of what [`crate::statistics::Usage::pending`] says of all organizations.
    pub pending: u64,
    /// Suspended webhooks.
    pub suspended: u64,
}

/// What is pending for one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneDepth {
    /// The webhook.
    pub webhook: WebhookId,
    /// Whether it is active.
    pub active: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Deliveries that are due, leased ones included.
    pub due: u64,
    /// Deliveries that are due later.
    pub later: u64,
    /// When the first of all of them is due.
    pub first_due: Timestamp,
}

/// Upkeep.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Cancels, expires and removes what is to be, in this order and up to the policy's limit: one transaction.
    /// What it ends, it ends at `now`. Deliveries of deleted webhooks are cancelled, leased or not, and never expire.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep(&self, now: Timestamp, policy: &SweepPolicy) -> Result<SweepReport, StoreError>;

    /// How much there is. The cost grows with the numbers of organizations and webhooks, not with what is pending.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn depth(&self) -> Result<Depth, StoreError>;

    /// Up to `limit` webhooks that have something pending, in the order of [`crate::queue::Queue::due_lanes`], beyond
    /// `after`, with how much of it is due by `now` (inclusive). Those of deleted webhooks are left out.
    ///
    /// Reads an entry of an index for each pending delivery: for what is asked now and then, and not for every request.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lane_depths(
        &self,
        now: Timestamp,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<LaneDepth>, StoreError>;

    /// Whether the store can be read and written now.
    ///
    /// # Errors
    /// [`StoreError`], when it cannot.
    async fn check(&self) -> Result<(), StoreError>;
}
