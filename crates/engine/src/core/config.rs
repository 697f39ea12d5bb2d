use std::time::Duration;

use stackbell_model::ids::LeaseToken;
use stackbell_model::retry::RetryPolicy;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::commit::{Lease, Quota};

/// The limits of the core. Each has a reason; an installation may set others.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// When a delivery is tried again.
    pub retry: RetryPolicy,
    /// The most that an organization may keep. Beyond it, its events are refused until something is gone.
    pub quota: Quota,
    /// Attempts in flight at once: bounds sockets and bodies in memory.
    pub in_flight_max: u32,
    /// Attempts in flight of one organization, so that none can take the whole node.
    pub organization_in_flight_max: u32,
    /// Attempts in flight of a webhook whose endpoint is not known yet.
    pub lane_limit_start: u32,
    /// Attempts in flight of a webhook whose endpoint responds quickly.
    pub lane_limit_max: u32,
    /// Deliveries that are prefetched: bounds the memory that they take.
    pub prefetch_max: u32,
    /// Prefetched deliveries of one organization.
    pub organization_prefetch_max: u32,
    /// Prefetched deliveries of one webhook.
    pub lane_prefetch_max: u32,
    /// A response within this time is quick, unless it is long. Half of all permits are for webhooks whose last response was quick.
    pub quick_response: Duration,
    /// Attempts of other webhooks that begin at once, about a millisecond's work; after that no more in each `quick_response`
    /// than half of `in_flight_max`.
    pub unproven_burst: u32,
    /// This many failures in a row open a webhook's breaker.
    pub breaker_failures: u32,
    /// How long an open breaker waits between its single probes.
    pub breaker_wait: Duration,
    /// The time between the first two attempts of a webhook that was resumed. Each success shortens it by a fifth,
    /// so that an endpoint that is back is led up to full speed within a few seconds.
    pub resume_interval: Duration,
    /// How long a lease lasts. Longer than an exchange and the commit of its outcome, whatever the disk does.
    pub lease_for: Duration,
    /// Events in one commit: enough to spread the cost of a sync, few enough to keep it short.
    pub batch_events_max: usize,
    /// Deliveries in one commit, and with them the time that it keeps the writer.
    pub batch_deliveries_max: usize,
    /// Bytes of payloads and rendered messages in one commit.
    pub batch_bytes_max: usize,
    /// Deliveries of one publish: its events times their webhooks.
    pub deliveries_in_publish_max: usize,
    /// Outcomes in one commit.
    pub batch_records_max: usize,
    /// Bytes of responses in one commit, after which no further outcome joins it.
    pub batch_record_bytes_max: usize,
    /// Commits under way at once. One for a store with one writer.
    pub commits_in_flight_max: usize,
    /// Events and outcomes that have to wait before a commit begins beside another.
    pub batch_beside_min: usize,
    /// Events that wait for a commit before producers are told to come back; a quarter of it for one organization.
    pub waiting_events_max: usize,
    /// Outcomes that wait for a commit before nothing new is sent.
    pub unrecorded_max: usize,
    /// Bytes of response bodies that wait for a commit before nothing new is sent.
    pub unrecorded_bytes_max: usize,
    /// How long a ping or redelivery waits for a permit.
    pub on_demand_wait_max: Duration,
    /// Pings and redeliveries that wait for a permit before people are told to come back; a quarter of it for one organization.
    pub on_demand_waiting_max: usize,
    /// How often the store is asked for lanes with something pending that nobody told us of.
    pub lanes_search_interval: Duration,
    /// How soon after a search the next one begins that another node wakes us up for.
    pub woken_search_interval: Duration,
    /// How long ago it was learnt that a webhook is held, when a search looks at it again.
    pub held_look_interval: Duration,
    /// How often the store is asked whether sending is held, which another node may have been told.
    pub sending_look_interval: Duration,
    /// Organizations whose webhooks are kept ready for matching.
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

    /// A new lease from `now` on.
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
