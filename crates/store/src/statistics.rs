//! Counts over time, kept by the commits that they count.

use std::ops::AddAssign;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};

use crate::StoreError;

const HOUR_MS: i64 = 3_600_000;

/// What one UTC hour saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events accepted, duplicates aside. Always 0 where one webhook is asked for.
    pub events: u64,
    /// Deliveries made, pings included.
    pub made: u64,
    /// Deliveries that ended succeeded.
    pub succeeded: u64,
    /// Deliveries that ended failed.
    pub failed: u64,
    /// Deliveries that ended cancelled.
    pub cancelled: u64,
    /// Attempts recorded, by when they ended.
    pub attempts: u64,
    /// Those of them that were not answered 2xx.
    pub attempts_failed: u64,
    /// How long all of them took together.
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

/// When the UTC hour of a moment began.
pub fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(HOUR_MS) * HOUR_MS)
}

/// An hour and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourTally {
    /// When the hour began.
    pub hour: Timestamp,
    /// What it saw.
    pub tally: Tally,
}

/// What an organization keeps. Exact: it changes with what it counts, in the same transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pending deliveries.
    pub pending: u64,
    /// Bytes of payloads, of deliveries' own bodies, and of attempts' headers and answers, as they are stored: packed,
    /// where the store packs.
    pub stored_bytes: u64,
}

/// Counting.
#[async_trait]
pub trait Statistics: Send + Sync {
    /// The hours of an organization, or of one of its webhooks, that begin in `from..to` and saw anything, oldest first.
    /// An organization's are the sums of its webhooks', those of deleted ones included, and its events.
    /// A webhook that was deleted can be asked for by itself as long as it has deliveries that are kept.
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

    /// What an organization keeps; nothing when there is no such one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage(&self, organization: OrganizationId) -> Result<Usage, StoreError>;
}
