//! Background maintenance.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::retry::RetryPolicy;

use crate::StoreError;

/// The settings of a sweep.
#[derive(Clone, Debug)]
pub struct SweepPolicy {
    /// The policy by which pending deliveries expire.
    pub retry: RetryPolicy,
    /// Deliveries (and pings) that finished before this time are removed with their attempts, and so are
    /// events without deliveries that were accepted before it. A store that partitions its history by day may
    /// keep it until the day is over, and an event for a day longer.
    pub finished_before: Timestamp,
    /// Audit entries, ended recoveries and hours of statistics from before this time are removed.
    pub audit_before: Timestamp,
    /// The maximum number of rows of each kind per sweep, so that a sweep never blocks the engine for long.
    pub rows_max: u32,
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Pending deliveries of deleted webhooks that were cancelled.
    pub cancelled: u64,
    /// Pending, unleased deliveries that were too old ([`RetryPolicy::is_expired`]) and have failed.
    pub expired: u64,
    /// Finished deliveries that were removed.
    pub deliveries_removed: u64,
    /// Events that were removed.
    pub events_removed: u64,
    /// Audit entries that were removed.
    pub audit_removed: u64,
    /// Whether a limit was reached, so that another sweep may have more to do.
    pub more: bool,
}

/// Counts of the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Pending deliveries, including held ones: the sum of [`crate::statistics::Usage::pending`] over all
    /// organizations.
    pub pending: u64,
    /// Suspended webhooks.
    pub suspended: u64,
}

/// The pending deliveries of one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneDepth {
    /// The webhook.
    pub webhook: WebhookId,
    /// Whether it is active.
    pub active: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Deliveries that are due, including leased ones.
    pub due: u64,
    /// Deliveries that are due later.
    pub later: u64,
    /// When the first of all these deliveries is due.
    pub first_due: Timestamp,
}

/// Maintenance of the store.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Cancels, expires and removes rows, in this order and up to the policy's limit, in one transaction.
    /// Deliveries end at `now`. Deliveries of deleted webhooks are cancelled, leased or not, and never
    /// expire.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep(&self, now: Timestamp, policy: &SweepPolicy) -> Result<SweepReport, StoreError>;

    /// Returns counts of the whole store. The cost grows with the number of organizations and webhooks, not
    /// with that of pending deliveries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn depth(&self) -> Result<Depth, StoreError>;

    /// Returns up to `limit` webhooks with pending deliveries, in the order of
    /// [`crate::queue::Queue::due_lanes`], after `after`, with the number of deliveries that are due by `now`
    /// (inclusive). Deleted webhooks are left out.
    ///
    /// It reads an index entry for each pending delivery, so call it occasionally and not for every request.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lane_depths(
        &self,
        now: Timestamp,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<LaneDepth>, StoreError>;

    /// Checks whether the store can be read and written.
    ///
    /// # Errors
    /// [`StoreError`], if it cannot.
    async fn check(&self) -> Result<(), StoreError>;
}
