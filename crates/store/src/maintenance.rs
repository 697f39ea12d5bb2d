//! What nobody waits for.

use async_trait::async_trait;
use stackbell_model::Timestamp;
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
    /// Pending deliveries, held ones included.
    pub pending: u64,
    /// When the first of them is due that is not held.
    pub oldest_due: Option<Timestamp>,
    /// Suspended webhooks.
    pub suspended: u64,
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

    /// Counts what is pending. May cost a scan of an index: not for every request.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn depth(&self) -> Result<Depth, StoreError>;

    /// Whether the store can be read and written now.
    ///
    /// # Errors
    /// [`StoreError`], when it cannot.
    async fn check(&self) -> Result<(), StoreError>;
}
