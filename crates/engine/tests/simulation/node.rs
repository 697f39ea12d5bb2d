//! A node: its core, its clock, and everything in flight to it and from it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use stackbell_engine::core::{
    AttemptRequest, Command, Core, CoreConfig, Input, Neighbours, OnDemandTicket, PublishTicket,
};
use stackbell_model::Timestamp;
use stackbell_model::ids::{EventId, NodeId, WebhookId};
use stackbell_model::source::SourceCursor;
use stackbell_store::commit::Quota;
use stackbell_testkit::SeededEntropy;

use crate::endpoints::Key;

/// A request to the store in flight.
pub(crate) struct Asked {
    pub command: Command,
    /// When it was sent, by the node's clock.
    pub at: Timestamp,
    pub step: u64,
    /// The most attempts in flight from this node for each webhook of the request, at that time.
    pub caps: Vec<(WebhookId, u32)>,
}

/// A request to an endpoint in flight.
pub(crate) struct UnderWay {
    pub send: Box<AttemptRequest>,
    /// Its place in the log of its delivery.
    pub place: usize,
    /// The most attempts in flight that its webhook could have when it was sent.
    pub cap: u32,
}

/// An input for the core.
pub(crate) struct Mail {
    pub input: Input,
    /// The request that it ends.
    pub request: Option<(Key, usize)>,
}

impl From<Input> for Mail {
    fn from(input: Input) -> Self {
        Self { input, request: None }
    }
}

/// A producer that waits for its events and its cursor, with a right as of `version`.
pub(crate) struct Producer {
    pub events: Vec<EventId>,
    pub version: u64,
    pub cursor: Option<SourceCursor>,
}

pub(crate) struct Node {
    pub id: NodeId,
    pub core: Core,
    /// The number of its life. No two lives of any nodes are equal.
    pub life: u32,
    pub is_paused: bool,
    pub is_stopping: bool,
    /// How far its clock is ahead of the store's, in milliseconds.
    pub ahead_ms: i64,
    /// The time that has passed by its clock. Setting the clock back does not reduce it.
    pub elapsed: Duration,
    /// The step at which its clock was last set back.
    pub set_back_step: u64,
    pub wake_at: Option<Timestamp>,
    pub disk: Vec<Asked>,
    pub network: Vec<UnderWay>,
    /// Inputs that the core has not received yet.
    pub mail: Vec<Mail>,
    pub publishing: BTreeMap<PublishTicket, Producer>,
    /// Callers that wait for a ping (`None`) or a redelivery.
    pub asking: BTreeMap<OnDemandTicket, Option<Key>>,
    /// Whether sending is active, as last told in this life.
    pub sending_goes: Option<bool>,
    /// The number of nodes that it sees, and how often that has changed; 0 until it knows.
    pub view: (usize, u32),
    /// The limit of attempts in flight for each webhook, over all nodes, as this node has learned it.
    pub limits: HashMap<WebhookId, u32>,
    /// Until when endpoints asked to wait, and the step at which the node learned of it.
    pub asked: HashMap<WebhookId, (Timestamp, u64)>,
    /// Whether the last reported commit failed.
    pub is_commit_failing: bool,
}

impl Node {
    pub(crate) fn new(
        id: NodeId,
        config: &CoreConfig,
        life: u32,
        rng_seed: u64,
        is_shared: bool,
        ahead_ms: i64,
        now: Timestamp,
    ) -> Self {
        let neighbours = if is_shared { Neighbours::unknown(id) } else { Neighbours::alone(id) };
        let entropy = Box::new(SeededEntropy::new(rng_seed.wrapping_add(u64::from(life))));
        Self {
            id,
            core: Core::new(config.clone(), neighbours, None, entropy, now),
            life,
            is_paused: false,
            is_stopping: false,
            ahead_ms,
            elapsed: Duration::ZERO,
            set_back_step: 0,
            wake_at: None,
            disk: Vec::new(),
            network: Vec::new(),
            mail: Vec::new(),
            publishing: BTreeMap::new(),
            asking: BTreeMap::new(),
            sending_goes: None,
            view: (usize::from(!is_shared), 0),
            limits: HashMap::new(),
            asked: HashMap::new(),
            is_commit_failing: false,
        }
    }

    /// Whether a request to the store that matches `is_it` is in flight, or its result is.
    pub(crate) fn is_asking(
        &self,
        is_it: impl Fn(&Command) -> bool,
        is_answer: impl Fn(&Input) -> bool,
    ) -> bool {
        self.disk.iter().any(|asked| is_it(&asked.command))
            || self.mail.iter().any(|mail| is_answer(&mail.input))
    }

    pub(crate) fn has_commit_under_way(&self) -> bool {
        self.is_asking(
            |command| matches!(command, Command::Commit { .. }),
            |input| matches!(input, Input::Committed { .. } | Input::CommitFailed { .. }),
        )
    }

    pub(crate) fn has_lease_under_way(&self) -> bool {
        self.is_asking(
            |command| matches!(command, Command::Lease { .. }),
            |input| matches!(input, Input::Leased(_) | Input::LeaseFailed { .. }),
        )
    }

    /// The most attempts of a webhook that may be in flight from here, by this node's share of the limit.
    pub(crate) fn cap(&self, webhook: WebhookId, config: &CoreConfig) -> u32 {
        let limit = self.limits.get(&webhook).copied().unwrap_or(config.lane_limit_start);
        limit.div_ceil(u32::try_from(self.view.0.max(1)).expect("few")).max(1)
    }
}

/// The id of a node in its nth life.
pub(crate) fn node_id(n: u128) -> NodeId {
    NodeId::from_uuid(uuid::Uuid::from_u128(n))
}

const NEVER: Duration = Duration::from_secs(1000 * 24 * 3600);

/// Small limits, so that every limit is reached.
pub(crate) fn config() -> CoreConfig {
    CoreConfig {
        in_flight_max: 8,
        organization_in_flight_max: 6,
        prefetch_max: 6,
        organization_prefetch_max: 5,
        lane_prefetch_max: 4,
        lane_limit_max: 4,
        unproven_burst: 3,
        batch_events_max: 3,
        batch_records_max: 3,
        // Two records fill a batch: each counts as at least 512 bytes.
        batch_record_bytes_max: 600,
        batch_beside_min: 1,
        waiting_events_max: 6,
        unrecorded_max: 4,
        on_demand_waiting_max: 2,
        quota: Quota { pending_max: 12, stored_bytes_max: u64::MAX },
        // Never within a history: a single node must find its own work without them.
        sending_look_interval: NEVER,
        lanes_search_interval: NEVER,
        ..CoreConfig::default()
    }
}

/// Settings for a shared store. Intervals are longer than in production, because a history lasts for days.
pub(crate) fn shared_config() -> CoreConfig {
    let often = Duration::from_secs(3600);
    CoreConfig {
        commits_in_flight_max: 4,
        sending_look_interval: often,
        lanes_search_interval: often,
        ..config()
    }
}
