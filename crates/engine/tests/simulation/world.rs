//! The nodes, their store, their network, the time, and the people.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use stackbell_engine::core::{Authority, CoreConfig, Input, Publish, PublishTicket};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{FailReason, State};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::identity::Organization;
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::names::{DisplayName, OrganizationName, ProjectName, StackName};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::{Format, Pace};
use stackbell_store::history::{History, StoredDelivery};
use stackbell_store::identity::Identity;
use stackbell_store::maintenance::{Maintenance, SweepPolicy};
use stackbell_store::webhooks::Webhooks;
use stackbell_store_memory::MemoryStore;
use stackbell_testkit::SeededEntropy;

use crate::endpoints::{Endpoints, Key};
use crate::node::{Node, Producer, config, node_id, shared_config};
use crate::operations::{Cast, Operation, Plan};
use crate::sources::Sources;
use crate::tally::{Met, Tally};

/// The in-memory store's futures are ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the in-memory store never waits")
}

/// A lease that the store has given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    /// When it runs out, by the clock that applies to leases.
    pub until: Timestamp,
    /// The step at which it was given, and the step of the request for it.
    pub step: u64,
    pub asked_step: u64,
    /// The life of the node that got it.
    pub life: u32,
    /// The delivery's last rearming before it.
    pub rearmed_at: Option<Timestamp>,
    /// The most attempts in flight that its webhook could have at that node, when it was requested.
    pub cap: u32,
    /// The webhook's revision when it was given.
    pub revision: u64,
    /// The end of the hold that the webhook was under when its delivery was accepted with this lease.
    pub held_until: Option<Timestamp>,
}

pub(crate) struct World {
    pub store: MemoryStore,
    /// Whether several nodes share the store, and its clock applies to leases.
    pub is_shared: bool,
    /// The true time. Clocks of nodes may differ.
    pub time: Timestamp,
    pub config: CoreConfig,
    pub rng_seed: u64,
    pub entropy: SeededEntropy,
    pub nodes: Vec<Node>,
    /// The number of lives of all nodes.
    pub lives: u32,
    /// The lives that were killed, with everything that they knew.
    pub killed: HashSet<u32>,
    pub tickets: u64,
    pub organizations: Vec<OrganizationId>,
    pub endpoints: Endpoints,
    pub webhooks: Vec<WebhookId>,
    pub owners: HashMap<WebhookId, OrganizationId>,
    pub deleted: HashSet<WebhookId>,
    /// Webhooks whose URL was edited. Only an upper bound of a node's limit for them is known.
    pub moved: HashSet<WebhookId>,
    pub published: Vec<(EventId, usize, usize)>,
    pub sources: Sources,
    /// Events that were acknowledged to their producer, with the receipt's count of deliveries.
    pub answered: BTreeMap<EventId, u32>,
    /// The webhooks that had to receive each event, by the store's state at its commit, in order.
    pub expected: BTreeMap<EventId, Vec<WebhookId>>,
    /// The versions of its organization as of which each event was accepted.
    pub accepted_as_of: HashMap<EventId, Vec<u64>>,
    pub keys: HashMap<DeliveryId, Key>,
    pub given: HashMap<DeliveryId, Vec<Given>>,
    /// The steps at which a delivery's lease passed to another node, or its holder was not told of the lease.
    pub lost: HashMap<Key, Vec<u64>>,
    /// The steps at which somebody changed a delivery that a node may have leased, or it expired.
    pub touched: HashMap<Key, Vec<u64>>,
    /// Webhooks with an outcome that was given up because of an unreadable row.
    pub unrecordable: HashSet<WebhookId>,
    /// Deliveries that somebody cancelled.
    pub cancelled: HashSet<Key>,
    /// The steps at which deliveries were rearmed.
    pub rearmed: HashMap<Key, Vec<u64>>,
    /// The step at which somebody last ended, or may have ended, the wait that a webhook's endpoint asked for.
    pub set_going: HashMap<WebhookId, u64>,
    /// The events that each recovery has made pending.
    pub recovered: HashMap<RecoveryId, HashSet<EventId>>,
    /// The total by which clocks were set back. Earlier due times come later by as much.
    pub set_back: Duration,
    /// Webhooks of an embedded store that were edited without telling its node. The node learns of it only at the end.
    pub untold: BTreeSet<WebhookId>,
    /// Webhooks that have due deliveries, of which their node was not told. The node learns of them only at the end.
    pub untold_lanes: BTreeSet<WebhookId>,
    pub tally: Tally,
    /// A hash of everything that nodes did. Two runs of one history have the same hash.
    pub trace: u64,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (is_shared, nodes, config) = match plan.cast {
            Cast::Embedded { commits_max } => {
                (false, 1, CoreConfig { commits_in_flight_max: commits_max, ..config() })
            }
            Cast::Shared { nodes } => (true, nodes, shared_config()),
        };
        let mut world = Self {
            store: if is_shared { MemoryStore::shared() } else { MemoryStore::new() },
            is_shared,
            time: Timestamp::from_millis(1_700_000_000_000),
            config,
            rng_seed: plan.rng_seed,
            entropy: SeededEntropy::new(plan.rng_seed),
            nodes: Vec::new(),
            lives: 0,
            killed: HashSet::new(),
            tickets: 0,
            organizations: Vec::new(),
            endpoints: Endpoints::default(),
            webhooks: Vec::new(),
            owners: HashMap::new(),
            deleted: HashSet::new(),
            moved: HashSet::new(),
            published: Vec::new(),
            sources: Sources::default(),
            answered: BTreeMap::new(),
            expected: BTreeMap::new(),
            accepted_as_of: HashMap::new(),
            keys: HashMap::new(),
            given: HashMap::new(),
            lost: HashMap::new(),
            touched: HashMap::new(),
            set_going: HashMap::new(),
            unrecordable: HashSet::new(),
            cancelled: HashSet::new(),
            rearmed: HashMap::new(),
            recovered: HashMap::new(),
            set_back: Duration::ZERO,
            untold: BTreeSet::new(),
            untold_lanes: BTreeSet::new(),
            tally: Tally::default(),
            trace: 0,
        };
        world.found(nodes);
        world
    }

    fn found(&mut self, nodes: usize) {
        if self.is_shared {
            self.store.set_lease_clock(self.time);
            self.tally.note(Met::SharedStore);
        }
        (0..nodes).for_each(|_| {
            let node = self.new_node(0);
            self.nodes.push(node);
        });
        for name in ["acme", "umbrella"] {
            let organization = Organization {
                id: OrganizationId::generate(self.time, &mut self.entropy),
                name: OrganizationName::parse(name).expect("a name"),
                display_name: DisplayName::parse(name).expect("a name"),
                avatar_url: String::new(),
                created_at: self.time,
            };
            let audit = self.audit(0, organization.id);
            assert!(
                now(self.store.create_organization(&organization, None, audit)).expect("the store works")
            );
            self.organizations.push(organization.id);
        }
        self.create(0, 0, None, Format::Raw, None);
        self.create(0, 0, Some(0), Format::Slack, None);
        self.create(0, 0, Some(0), Format::Raw, None);
        self.create(0, 1, None, Format::Raw, None);
        for n in 0..nodes {
            self.turn(n, Vec::new());
            self.see_all(n);
        }
    }

    /// Creates a node with its clock this far ahead.
    pub(super) fn new_node(&mut self, ahead_ms: i64) -> Node {
        self.lives += 1;
        let id = if self.is_shared {
            node_id(u128::from(self.rng_seed) << 32 | u128::from(self.lives))
        } else {
            node_id(0)
        };
        let at = Timestamp::from_millis(self.time.as_millis() + ahead_ms);
        Node::new(id, &self.config, self.lives, self.rng_seed, self.is_shared, ahead_ms, at)
    }

    pub(crate) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Publish { node, organization, subject, again, behind } => {
                self.publish(self.nth(node), organization, subject, again, behind);
            }
            Operation::Source { node, organization, subject, events, again, is_behind } => {
                self.bring(self.nth(node), (organization, subject), events, again, is_behind);
            }
            Operation::Store { node, which, fate } => self.store_step(self.nth(node), which, fate),
            Operation::Hear { node, which } => self.hear(self.nth(node), which),
            Operation::Request { node, which, fate } => self.request_step(self.nth(node), which, fate),
            Operation::Endpoint { webhook, behaviour } => {
                let webhook = self.webhooks[webhook % self.webhooks.len()];
                self.endpoints.set(webhook, behaviour);
            }
            Operation::Advance(by) => self.pass_time(by),
            Operation::Linger(by) => self.move_time(self.time.after(by)),
            Operation::SetAhead { node, by } => self.set_clock(self.nth(node), by, true),
            Operation::SetBack { node, by } => self.set_clock(self.nth(node), by, false),
            Operation::Pause { node } => self.pause(self.nth(node)),
            Operation::Wake { node, hears_all } => self.wake(self.nth(node), hears_all),
            Operation::Kill { node, happened, told } => self.kill(self.nth(node), happened, told),
            Operation::Stop { node } => self.stop(self.nth(node)),
            Operation::Nodes { node, seen: None } => self.see_all(self.nth(node)),
            Operation::Nodes { node, seen: Some(bits) } => self.see_some(self.nth(node), bits),
            Operation::WakeUp { node } => self.tell(self.nth(node), Input::WokenUp.into()),
            Operation::Sweep { node } => self.sweep(self.nth(node)),
            asked => {
                let node = self.asks_of(&asked);
                // A paused node takes no requests, but another node may.
                let awake =
                    (node..node + self.nodes.len()).map(|n| self.nth(n)).find(|n| !self.nodes[*n].is_paused);
                if let Some(n) = awake {
                    self.somebody_asks(n, asked);
                }
            }
        }
    }

    /// One of the nodes, modulo their count.
    fn nth(&self, node: usize) -> usize {
        node % self.nodes.len()
    }

    /// The time by a node's clock.
    pub(crate) fn clock(&self, n: usize) -> Timestamp {
        Timestamp::from_millis(self.time.as_millis() + self.nodes[n].ahead_ms)
    }

    pub(crate) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Publishes with a right that is this many versions old.
    fn publish(&mut self, n: usize, organization: usize, subject: usize, again: Option<usize>, behind: u64) {
        if self.nodes[n].is_paused {
            return;
        }
        let known = again.and_then(|n| self.published.get(n).copied());
        let (id, place, subject) =
            known.unwrap_or_else(|| (EventId::generate(&mut self.entropy), organization, subject));
        if known.is_none() {
            self.published.push((id, place, subject));
        }
        let organization = self.organizations[place];
        let event = self.event(n, id, organization, subject);
        let ticket = PublishTicket(self.ticket());
        let version = now(self.store.organization_webhooks(organization)).expect("the store works");
        let version = version.expect("the organization is there").version - behind;
        self.nodes[n].publishing.insert(ticket, Producer { events: vec![id], version, cursor: None });
        let (authority, change, events) = (Authority::AsOf { version }, None, vec![event]);
        let publish = Publish { ticket, organization, authority, change, events };
        self.turn(n, vec![Input::Publish(publish).into()]);
    }

    /// A new event with the time of a node's clock.
    pub(super) fn event(
        &mut self,
        n: usize,
        id: EventId,
        organization: OrganizationId,
        subject: usize,
    ) -> Event {
        let at = self.clock(n);
        Event {
            key: EventKey::generate(at, &mut self.entropy),
            id,
            organization,
            kind: EventKind::StackUpdate,
            filters: FilterSet::EMPTY.with(Filter::UpdateSucceeded),
            subject: Subject::Stack { project: project(), stack: stack(subject) },
            payload: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
            digest: Some([3; 32]),
            accepted_at: at,
            source: Source::Api,
            token: None,
        }
    }

    pub(crate) fn delivery(&self, webhook: WebhookId, event: EventId) -> Option<StoredDelivery> {
        now(self.store.find_delivery(webhook, event)).expect("the store works")
    }

    /// Records that somebody changed a delivery.
    pub(super) fn touch(&mut self, key: Key) {
        let step = self.endpoints.next_step();
        self.touched.entry(key).or_default().push(step);
    }

    pub(super) fn sweep(&mut self, n: usize) {
        let policy = SweepPolicy {
            retry: RetryPolicy::default(),
            finished_before: Timestamp::from_millis(0),
            audit_before: Timestamp::from_millis(0),
            rows_max: 1000,
        };
        // At most the time of the shared clock.
        let at = if self.is_shared { self.clock(n).min(self.time) } else { self.clock(n) };
        if now(self.store.sweep(at, &policy)).expect("the store works").expired > 0 {
            self.touch_expired(at);
        }
    }

    fn touch_expired(&mut self, swept_at: Timestamp) {
        let keys =
            self.expected.iter().flat_map(|(event, heard)| heard.iter().map(|webhook| (*webhook, *event)));
        let has_expired = |key: &Key| {
            let stored = self.delivery(key.0, key.1).expect("no delivery vanishes");
            let expired = State::Failed { at: swept_at, reason: FailReason::Expired };
            stored.delivery.state == expired
        };
        let expired: Vec<_> = keys.filter(has_expired).collect();
        expired.into_iter().for_each(|key| self.touch(key));
    }

    pub(crate) fn pending_count(&self) -> u64 {
        now(self.store.depth()).expect("the store works").pending
    }

    pub(super) fn set_pace_of(&mut self, webhook: WebhookId, revision: u64) {
        self.endpoints.paces_set.entry(webhook).or_default().push(revision);
    }

    /// Adds what a node did to the hash.
    pub(super) fn trace(&mut self, what: u128) {
        for part in [what as u64, (what >> 64) as u64] {
            self.trace = (self.trace.rotate_left(5) ^ part).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

pub(crate) fn pace(per_minute: Option<u32>) -> Option<Pace> {
    per_minute.and_then(Pace::per_minute)
}

pub(crate) fn project() -> ProjectName {
    ProjectName::parse("website").expect("a name")
}

pub(crate) fn stack(n: usize) -> StackName {
    StackName::parse(&format!("s{n}")).expect("a name")
}
