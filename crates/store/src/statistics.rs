//! Counts over time. Each commit updates them for its own changes.

use std::ops::AddAssign;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};

use crate::StoreError;

const HOUR_MS: i64 = 3_600_000;

/// The counts of one UTC hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events accepted, without duplicates. Always 0 in the counts of one webhook.
    pub events: u64,
    /// Deliveries created, including pings.
    pub made: u64,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// Deliveries that were cancelled.
    pub cancelled: u64,
    /// Attempts recorded, by the time of their end.
    pub attempts: u64,
    /// Attempts without a 2xx.
    pub attempts_failed: u64,
    /// The total duration of the attempts.
    pub attempts_took: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.made += more.made;
        self.succeeded += more.succeeded;
        self.failed += more.failed;
        self.cancelled += more.cancelled;
        self.attempts += more.attempts;
        self.attempts_failed += more.attempts_failed;
        self.attempts_took += more.attempts_took;
    }
}

/// Returns the start of the UTC hour of a time.
pub fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(HOUR_MS) * HOUR_MS)
}

/// An hour and its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourTally {
    /// The start of the hour.
    pub hour: Timestamp,
    /// The counts.
    pub tally: Tally,
}

/// The usage of an organization. It is exact: it changes in the same transaction as the counted rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pending deliveries.
    pub pending: u64,
    /// Bytes of payloads, of deliveries' own bodies, and of attempts' headers and responses, as they are
    /// stored, after compression if the store compresses.
    pub stored_bytes: u64,
}

/// Reads the counts.
#[async_trait]
pub trait Statistics: Send + Sync {
    /// Returns the non-empty hours of an organization, or of one of its webhooks, that begin in `from..to`,
    /// oldest first. The counts of an organization are the sums of those of its webhooks, including deleted
    /// ones, and its events. A deleted webhook can be queried while some of its deliveries are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn tallies(
        &self,
        organization: OrganizationId,
        webhook: Option<WebhookId>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourTally>, StoreError>;

    /// Returns an organization's usage; zero if there is no such organization.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage(&self, organization: OrganizationId) -> Result<Usage, StoreError>;
}
