use std::time::Duration;

use stackbell_model::ids::LeaseToken;
use stackbell_model::retry::RetryPolicy;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::commit::{Lease, Quota};

/// The limits of the core.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The backoff of failed deliveries.
    pub retry: RetryPolicy,
    /// The storage quota of an organization. Above it, events are refused until some of the data is removed.
    pub quota: Quota,
    /// Attempts in flight at once. Bounds sockets and bodies in memory.
    pub in_flight_max: u32,
    /// Attempts in flight of one organization, so that no organization can use the whole node.
    pub organization_in_flight_max: u32,
    /// Attempts in flight of a webhook whose endpoint is not known yet.
    pub lane_limit_start: u32,
    /// Attempts in flight of a webhook whose endpoint responds quickly.
    pub lane_limit_max: u32,
    /// Prefetched deliveries of the node. Bounds their memory.
    pub prefetch_max: u32,
    /// Prefetched deliveries of one organization.
    pub organization_prefetch_max: u32,
    /// Prefetched deliveries of one webhook.
    pub lane_prefetch_max: u32,
    /// The longest time of a quick response, which must also be short (see `lane/speed.rs`). Half of all permits are reserved for
    /// webhooks whose last response was quick.
    pub quick_response: Duration,
    /// Attempts of unproven webhooks that may begin at once, about a millisecond of work. After this burst, at most half of
    /// `in_flight_max` begin in each `quick_response`.
    pub unproven_burst: u32,
    /// The number of failures in a row that opens a webhook's circuit breaker.
    pub breaker_failures: u32,
    /// The wait of an open circuit breaker between single attempts.
    pub breaker_wait: Duration,
    /// The time between the first two attempts of a resumed webhook. Each success shortens it by a fifth, so that a
    /// recovered endpoint is at full speed within a few seconds.
    pub resume_interval: Duration,
    /// The duration of a lease. It must be longer than an exchange and the commit of its outcome, even with a slow disk.
    pub lease_for: Duration,
    /// Events in one commit: enough to share the cost of a sync, and few enough for a short commit.
    pub batch_events_max: usize,
    /// Deliveries in one commit. Bounds the time that a commit occupies the store's writer.
    pub batch_deliveries_max: usize,
    /// Bytes of payloads and rendered messages in one commit.
    pub batch_bytes_max: usize,
    /// Deliveries of one publish: its events times their webhooks.
    pub deliveries_in_publish_max: usize,
    /// Outcomes in one commit.
    pub batch_records_max: usize,
    /// Bytes of responses in one commit. A batch that has reached this takes no further outcome.
    pub batch_record_bytes_max: usize,
    /// Commits under way at once. One for a store with a single writer.
    pub commits_in_flight_max: usize,
    /// The number of waiting events and outcomes from which a commit begins while another is under way.
    pub batch_beside_min: usize,
    /// Events that may wait for a commit; further events are refused. One organization may use a quarter.
    pub waiting_events_max: usize,
    /// Unrecorded outcomes that may wait for a commit. At this limit, no new attempts begin.
    pub unrecorded_max: usize,
    /// Bytes of unrecorded response bodies that may wait for a commit. At this limit, no new attempts begin.
    pub unrecorded_bytes_max: usize,
    /// The longest wait of a ping or redelivery for a permit.
    pub on_demand_wait_max: Duration,
    /// Pings and redeliveries that may wait for a permit; further ones are refused. One organization may use a quarter.
    pub on_demand_waiting_max: usize,
    /// The interval of searches in the store for lanes with pending deliveries that this node does not know of.
    pub lanes_search_interval: Duration,
    /// The shortest time between a search and the next one, if another node wakes up this node.
    pub woken_search_interval: Duration,
    /// The age from which a lane's hold is read again, if a search finds the lane.
    pub held_look_interval: Duration,
    /// The interval at which the store is read for a hold of all sending, which another node may have set.
    pub sending_look_interval: Duration,
    /// Organizations whose webhooks are kept in memory for matching.
    pub snapshots_max: usize,
}

impl CoreConfig {
    /// The settings that differ if other nodes use the same store.
    ///
    /// Searches for due deliveries of other nodes are more frequent, because a wake-up may be lost.
    /// The store has more than one writer, and a commit waits for a network as well as for a disk.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { lanes_search_interval: Duration::from_secs(2), commits_in_flight_max: 4, ..self }
    }

    /// Creates a lease that begins at `now`.
    pub(super) fn new_lease(&self, now: Timestamp, entropy: &mut dyn Entropy) -> Lease {
        Lease { token: LeaseToken::generate(entropy), until: now.after(self.lease_for) }
    }

    /// When a lease of this node began.
    pub(super) fn leased_at(&self, lease: Lease) -> Timestamp {
        lease.until.before(self.lease_for)
    }
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            quota: Quota { pending_max: 1_000_000, stored_bytes_max: 20 * 1024 * 1024 * 1024 },
            in_flight_max: 1024,
            organization_in_flight_max: 256,
            lane_limit_start: 2,
            lane_limit_max: 16,
            prefetch_max: 1024,
            organization_prefetch_max: 256,
            lane_prefetch_max: 256,
            quick_response: Duration::from_secs(1),
            unproven_burst: 16,
            breaker_failures: 5,
            breaker_wait: Duration::from_secs(30),
            resume_interval: Duration::from_secs(1),
            lease_for: Duration::from_secs(60),
            batch_events_max: 256,
            batch_deliveries_max: 4096,
            batch_bytes_max: 8 * 1024 * 1024,
            deliveries_in_publish_max: 20_000,
            batch_records_max: 512,
            batch_record_bytes_max: 1024 * 1024,
            commits_in_flight_max: 1,
            batch_beside_min: 64,
            waiting_events_max: 16_384,
            unrecorded_max: 4096,
            unrecorded_bytes_max: 64 * 1024 * 1024,
            on_demand_wait_max: Duration::from_secs(30),
            on_demand_waiting_max: 256,
            lanes_search_interval: Duration::from_secs(30),
            woken_search_interval: Duration::from_millis(200),
            held_look_interval: Duration::from_secs(15),
            sending_look_interval: Duration::from_secs(15),
            snapshots_max: 10_000,
        }
    }
}
