//! A node: its machine, its clock, and all that is on its way to it and from it.

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

/// A request to the store on its way.
pub(crate) struct Asked {
    pub command: Command,
    /// When it left, by the node's clock, and its place among all that happened.
    pub at: Timestamp,
    pub step: u64,
    /// How many attempts each webhook that it is about may have in flight from here, as of then.
    pub caps: Vec<(WebhookId, u32)>,
}

/// A request to an endpoint on its way.
pub(crate) struct UnderWay {
    pub send: Box<AttemptRequest>,
    /// Its place in the log of its delivery.
    pub place: usize,
    /// How many its webhook could have in flight when it was let go.
    pub cap: u32,
}

/// Something on its way to the machine.
pub(crate) struct Mail {
    pub input: Input,
    /// The request that it is the end of.
    pub request: Option<(Key, usize)>,
}

impl From<Input> for Mail {
    fn from(input: Input) -> Self {
        Self { input, request: None }
    }
}

/// A producer that waits: for these events, and for a source's cursor, by a right as of this version.
pub(crate) struct Producer {
    pub events: Vec<EventId>,
    pub version: u64,
    pub cursor: Option<SourceCursor>,
}

pub(crate) struct Node {
    pub id: NodeId,
    pub core: Core,
    /// Which life of which node this is: no two have the same.
    pub life: u32,
    pub is_paused: bool,
    pub is_stopping: bool,
    /// How far its clock is ahead of the store's, in milliseconds.
    pub ahead_ms: i64,
    /// How much time has gone by, as its clock has it; setting that back takes nothing off.
    pub elapsed: Duration,
    /// When its clock was last set back, by the place among all that happened.
    pub set_back_step: u64,
    pub wake_at: Option<Timestamp>,
    pub disk: Vec<Asked>,
    pub network: Vec<UnderWay>,
    /// What was done and it has not heard of.
    pub mail: Vec<Mail>,
    pub publishing: BTreeMap<PublishTicket, Producer>,
    /// Who waits for a ping (`None`), or for a delivery to be sent again.
    pub asking: BTreeMap<OnDemandTicket, Option<Key>>,
    /// Whether sending goes on, as it was told in this life.
    pub sending_goes: Option<bool>,
    /// How many nodes it sees, and how often that has changed; none before it knows.
    pub view: (usize, u32),
    /// How many attempts each webhook may have in flight, of all nodes, by what this one has learnt.
    pub limits: HashMap<WebhookId, u32>,
    /// Until when endpoints asked to be left alone, and when the node heard of that, by the place among all that happened.
    pub asked: HashMap<WebhookId, (Timestamp, u64)>,
    /// Whether the last commit that it heard of failed.
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

    /// Whether a request to the store is under way that `is_it`, or its answer is.
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

    /// How many attempts of a webhook may be in flight from here, by the rule of shares: at the most.
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

/// Small limits, so that every one of them is met.
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
        // Two of them: none has less than 512.
        batch_record_bytes_max: 600,
        batch_beside_min: 1,
        waiting_events_max: 6,
        unrecorded_max: 4,
        on_demand_waiting_max: 2,
        quota: Quota { pending_max: 12, stored_bytes_max: u64::MAX },
        // Never within a history: a machine that is alone must not need them to find what it knows of.
        sending_look_interval: NEVER,
        lanes_search_interval: NEVER,
        ..CoreConfig::default()
    }
}

/// The same where there are others. Rarer than in earnest: a history goes on for days.
pub(crate) fn shared_config() -> CoreConfig {
    let often = Duration::from_secs(3600);
    CoreConfig {
        commits_in_flight_max: 4,
        sending_look_interval: often,
        lanes_search_interval: often,
        ..config()
    }
}
