//! A node, its disk, its network, its clock, and the people around it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use stackbell_engine::core::{
    Ask, AskTicket, Authority, Command, Core, CoreConfig, Input, Publish, PublishRefusal, PublishTicket, Send,
};
use stackbell_model::delivery::Delivery;
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::identity::Organization;
use stackbell_model::ids::{AuditId, DeliveryId, EventId, EventKey, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::names::{DisplayName, OrganizationName, ProjectName, StackName};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::{Format, Pace};
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::audit::{Audit, AuditEntry};
use stackbell_store::history::{History, StoredDelivery};
use stackbell_store::identity::Identity;
use stackbell_store::maintenance::{Maintenance, SweepPolicy};
use stackbell_store::queue::LeasedLane;
use stackbell_store::webhooks::Webhooks;
use stackbell_store_memory::MemoryStore;

use crate::endpoints::{Endpoints, is_by_itself};
use crate::node::start;
use crate::operations::{Operation, RequestFate, StoreFate};

pub(crate) struct Seeded(pub ChaCha20Rng);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// The in-memory store's futures are ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the in-memory store never waits")
}

/// The longest that a request takes.
const EXCHANGE_TIME: Duration = Duration::from_secs(15);

/// The longest that a delivery waits by itself: a capped `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(25 * 3600);

/// A request on its way to an endpoint.
struct UnderWay {
    send: Box<Send>,
    place: usize,
}

pub(crate) struct World {
    pub store: MemoryStore,
    pub organization: OrganizationId,
    pub endpoints: Endpoints,
    pub webhooks: Vec<WebhookId>,
    pub deleted: HashSet<WebhookId>,
    /// Events whose producer was told that they are in, with the receipt's count of deliveries.
    pub answered: HashMap<EventId, u32>,
    /// Which webhooks had to hear of an event, by what the store knew at the moment of its commit.
    pub expected: HashMap<EventId, Vec<WebhookId>>,
    pub now: Timestamp,
    config: CoreConfig,
    core: Core,
    pub entropy: Seeded,
    /// Counts the kills.
    pub life: u32,
    pub(super) disk: Vec<Command>,
    /// What the store has done and the node has not heard of.
    pub(super) unheard: Vec<Input>,
    network: Vec<UnderWay>,
    wake_at: Option<Timestamp>,
    tickets: u64,
    publishing: HashMap<PublishTicket, Vec<EventId>>,
    pub published: Vec<(EventId, usize)>,
    /// When the last lease of a delivery runs out, and its place among all that happened.
    pub(super) leases: HashMap<DeliveryId, (Timestamp, u64)>,
    /// By how much the clock was set back, in all: what was due before is due later by as much.
    set_back: Duration,
    /// Webhooks that were edited through another node, of which this one hears only when it searches.
    pub untold: HashSet<WebhookId>,
    /// The same of webhooks that have something due.
    pub untold_lanes: HashSet<WebhookId>,
    /// Whether sending goes on, as the node was told in this life.
    sending_goes: Option<bool>,
    /// How much time has gone by, whatever the clock said.
    pub elapsed: Duration,
    /// Deliveries that somebody cancelled.
    pub cancelled: HashSet<(WebhookId, EventId)>,
    /// When deliveries were made to begin anew, by the place among all that happened.
    pub rearmed: HashMap<(WebhookId, EventId), Vec<u64>>,
    /// What each recovery has made pending.
    pub recovered: HashMap<RecoveryId, HashSet<EventId>>,
}

impl World {
    pub(crate) fn new(config: CoreConfig) -> Self {
        let mut entropy = Seeded(ChaCha20Rng::from_seed([1; 32]));
        let now_at = Timestamp::from_millis(1_700_000_000_000);
        let store = MemoryStore::new();
        let organization = OrganizationId::generate(now_at, &mut entropy);
        let core = start(&config, [2; 32], now_at);
        let mut world = Self {
            store,
            organization,
            endpoints: Endpoints::default(),
            webhooks: Vec::new(),
            deleted: HashSet::new(),
            answered: HashMap::new(),
            expected: HashMap::new(),
            now: now_at,
            config,
            core,
            entropy,
            life: 0,
            disk: Vec::new(),
            unheard: Vec::new(),
            network: Vec::new(),
            wake_at: None,
            tickets: 0,
            publishing: HashMap::new(),
            published: Vec::new(),
            leases: HashMap::new(),
            set_back: Duration::ZERO,
            untold: HashSet::new(),
            untold_lanes: HashSet::new(),
            sending_goes: None,
            elapsed: Duration::ZERO,
            cancelled: HashSet::new(),
            rearmed: HashMap::new(),
            recovered: HashMap::new(),
        };
        world.found();
        world.turn(Vec::new());
        world
    }

    fn found(&mut self) {
        let organization = Organization {
            id: self.organization,
            name: OrganizationName::parse("acme").expect("a name"),
            display_name: DisplayName::parse("Acme").expect("a name"),
            avatar_url: String::new(),
            created_at: self.now,
        };
        let audit = self.audit();
        assert!(now(self.store.create_organization(&organization, None, audit)).expect("the store works"));
        self.create(None, Format::Raw, None);
        self.create(Some(0), Format::Slack, None);
        self.create(Some(0), Format::Raw, None);
    }

    pub(crate) fn audit(&mut self) -> AuditEntry {
        AuditEntry {
            id: AuditId::generate(self.now, &mut self.entropy),
            at: self.now,
            organization: Some(self.organization),
            actor: "somebody".into(),
            token: None,
            remote: None,
            action: "test",
            target: "".into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish { subject, again, behind } => self.publish(subject, again, behind),
            Operation::Store { which, fate } => self.store_step(which, fate),
            Operation::Hear { which } => self.hear(which),
            Operation::Request { which, fate } => self.request_step(which, fate),
            Operation::Endpoint { webhook, behaviour } => {
                let webhook = self.webhooks[webhook % self.webhooks.len()];
                self.endpoints.set(webhook, behaviour);
            }
            Operation::Advance(by) => self.pass_time(by),
            Operation::JumpAhead(by) => self.move_clock(self.now.after(by)),
            Operation::SetBack(by) => {
                self.set_back += by;
                self.move_clock(self.now.before(by));
            }
            Operation::Kill { happened } => self.kill(happened),
            Operation::SetActive { webhook, active, told } => {
                self.edit(webhook, told, |webhook| webhook.active = active);
            }
            Operation::SetPace { webhook, pace, told } => {
                if let Some(webhook) = self.webhook(webhook) {
                    self.endpoints.paces_set.entry(webhook.id).or_default().push(webhook.revision + 1);
                }
                self.edit(webhook, told, |webhook| webhook.pace = pace.and_then(Pace::per_minute));
            }
            Operation::Delete { webhook } => self.delete(webhook),
            Operation::Create { subject, format, pace } => self.create(subject, format, pace),
            Operation::Ping { webhook } => {
                if let Some(webhook) = self.webhook(webhook) {
                    let ticket = AskTicket(self.ticket());
                    self.turn(vec![Input::Ask { ticket, ask: Ask::Ping { webhook: Arc::new(webhook) } }]);
                }
            }
            Operation::Redeliver { event, webhook } => self.redeliver(event, webhook),
            Operation::Cancel { event, webhook } => self.cancel(event, webhook),
            Operation::Retry { event, webhook, told } => self.retry(event, webhook, told),
            Operation::Recover { webhook, ago } => self.recover(webhook, ago),
            Operation::RecoveryStep { which, told } => {
                self.recovery_step(which, told);
            }
            Operation::SetHeld { held, told } => self.set_held(held, told),
            Operation::Nodes { count } => self.see_nodes(count),
            Operation::WakeUp => self.turn(vec![Input::WokenUp]),
            Operation::Sweep => self.sweep(),
        }
    }

    pub(crate) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// By a right that is as of so many versions ago.
    fn publish(&mut self, subject: usize, again: Option<usize>, behind: u64) {
        let known = again.and_then(|n| self.published.get(n).copied());
        let id = known.map_or_else(|| EventId::generate(&mut self.entropy), |(id, _)| id);
        let subject = known.map_or(subject, |(_, subject)| subject);
        if known.is_none() {
            self.published.push((id, subject));
        }
        let event = Event {
            key: EventKey::generate(self.now, &mut self.entropy),
            id,
            organization: self.organization,
            kind: EventKind::StackUpdate,
            filters: FilterSet::EMPTY.with(Filter::UpdateSucceeded),
            subject: Subject::Stack { project: project(), stack: stack(subject) },
            payload: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
            digest: Some([3; 32]),
            accepted_at: self.now,
            source: Source::Api,
            token: None,
        };
        let ticket = PublishTicket(self.ticket());
        self.publishing.insert(ticket, vec![id]);
        let organization = self.organization;
        let version = now(self.store.organization_webhooks(organization)).expect("the store works");
        let version = version.expect("the organization is there").version - behind;
        let publish =
            Publish { ticket, organization, authority: Authority::AsOf { version }, events: vec![event] };
        self.turn(vec![Input::Publish(publish)]);
    }

    pub(crate) fn delivery(&self, webhook: WebhookId, event: EventId) -> Option<StoredDelivery> {
        now(self.store.find_delivery(webhook, event)).expect("the store works")
    }

    fn sweep(&mut self) {
        let policy = SweepPolicy {
            retry: RetryPolicy::default(),
            finished_before: Timestamp::from_millis(0),
            audit_before: Timestamp::from_millis(0),
            rows_max: 1000,
        };
        now(self.store.sweep(self.now, &policy)).expect("the store works");
    }

    /// Time passes: a request ends within its limit, and a store that works answers within seconds.
    fn pass_time(&mut self, by: Duration) {
        let until = self.now.after(by);
        if by > EXCHANGE_TIME {
            while !self.network.is_empty() {
                self.request_step(0, RequestFate::AnswerLost);
            }
            for _ in 0..100 {
                if !self.unheard.is_empty() {
                    self.hear(0);
                } else if !self.disk.is_empty() {
                    self.store_step(0, StoreFate::Done);
                } else if !self.network.is_empty() {
                    self.request_step(0, RequestFate::Answered);
                } else if let Some(at) = self.wake_at.filter(|at| !self.core.is_idle() && *at < until) {
                    self.move_clock(at.max(self.now.after(Duration::from_millis(1))));
                } else {
                    break;
                }
            }
        }
        self.move_clock(until);
    }

    fn move_clock(&mut self, to: Timestamp) {
        self.elapsed += to.since(self.now);
        self.now = to;
        self.turn(vec![Input::Tick]);
    }

    /// One turn of the machine; its commands go to disk and network, its answers to the people.
    pub(super) fn turn(&mut self, inputs: Vec<Input>) {
        let mut commands = Vec::new();
        for input in inputs {
            match &input {
                Input::SendingRead { hold } => self.sending_goes = Some(hold.is_none()),
                Input::Committed { outcome, .. } if outcome.sending_held => self.sending_goes = Some(false),
                Input::Leased(leased) => {
                    if leased.sending_held {
                        self.sending_goes = Some(false);
                    }
                    self.note_lost_leases(&leased.lanes);
                }
                _ => {}
            }
            self.core.handle(input, self.now, &mut commands);
        }
        self.wake_at = None;
        self.core.flush(self.now, &mut commands);
        for command in commands {
            match command {
                Command::Send(send) => {
                    if is_by_itself(send.trigger) {
                        assert_eq!(self.sending_goes, Some(true), "sent while sending is held: {send:?}");
                    }
                    let lease = self.leases.get(&send.delivery.id).copied().unwrap_or((self.now, 0));
                    let place = self.endpoints.leaves(&send, self.life, lease, self.elapsed);
                    self.network.push(UnderWay { send, place });
                }
                Command::WakeAt(at) => self.wake_at = Some(at),
                Command::AnswerPublish { ticket, answer } => self.producer_is_told(ticket, answer),
                Command::AnswerAsk { .. } | Command::Note(_) => {}
                Command::LoadWebhooks { .. }
                | Command::Commit { .. }
                | Command::Lease { .. }
                | Command::ReadSendingHold
                | Command::Release { .. }
                | Command::FindLanes { .. } => self.disk.push(command),
            }
        }
    }

    /// A lease that is over when the node hears of it may have taken the place of one that the node still goes by, if the
    /// clock was set back meanwhile.
    fn note_lost_leases(&mut self, lanes: &[LeasedLane]) {
        let leased = lanes.iter().flat_map(|lane| &lane.deliveries).map(|leased| &leased.delivery);
        let is_over =
            |delivery: &&Delivery| self.leases.get(&delivery.id).is_some_and(|(until, _)| *until <= self.now);
        let lost = leased.filter(is_over).map(|delivery| (delivery.webhook, delivery.event_id));
        self.endpoints.lost_leases.extend(lost);
    }

    fn producer_is_told(
        &mut self,
        ticket: PublishTicket,
        answer: Result<Vec<stackbell_store::commit::Receipt>, PublishRefusal>,
    ) {
        let ids = self.publishing.remove(&ticket).expect("each producer is answered once");
        if let Ok(receipts) = answer {
            assert_eq!(receipts.iter().map(|receipt| receipt.id).collect::<Vec<_>>(), ids);
            for receipt in receipts {
                self.answered.insert(receipt.id, receipt.deliveries);
            }
        }
    }

    fn request_step(&mut self, which: usize, fate: RequestFate) {
        if self.network.is_empty() {
            return;
        }
        let UnderWay { send, place } = self.network.remove(which % self.network.len());
        let attempt = self.endpoints.ends(&send, place, fate, self.life, self.now);
        self.turn(vec![Input::AttemptEnded { key: send.key, attempt: Box::new(attempt) }]);
    }

    fn kill(&mut self, happened: u8) {
        for (n, command) in std::mem::take(&mut self.disk).into_iter().enumerate() {
            if happened & 1 << (n % 8) != 0 {
                self.store_does(&command);
            }
        }
        // Requests under way may or may not have arrived; nobody sees their answers.
        for (n, UnderWay { send, place }) in std::mem::take(&mut self.network).into_iter().enumerate() {
            let arrived = happened >> (n % 8) & 1 == 0;
            let fate = if arrived { RequestFate::AnswerLost } else { RequestFate::RequestLost };
            self.endpoints.ends(&send, place, fate, self.life, self.now);
        }
        self.unheard.clear();
        self.publishing.clear();
        self.life += 1;
        self.sending_goes = None;
        self.store.void_leases();
        let seed = [u8::try_from(10 + self.life % 200).expect("less than 210"); 32];
        self.core = start(&self.config, seed, self.now);
        self.turn(Vec::new());
    }

    /// Endpoints accept, the store works, and time goes on until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.endpoints.all_accept();
        self.see_nodes(1);
        for webhook in std::mem::take(&mut self.untold) {
            self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook }]);
        }
        self.set_held(false, true);
        for webhook in std::mem::take(&mut self.untold_lanes) {
            self.turn(vec![Input::LaneChanged { organization: self.organization, webhook }]);
        }
        while self.recovery_step(0, true) {}
        for _ in 0..20_000 {
            if !self.unheard.is_empty() {
                self.hear(0);
            } else if !self.disk.is_empty() {
                self.store_step(0, StoreFate::Done);
            } else if !self.network.is_empty() {
                self.request_step(0, RequestFate::Answered);
            } else {
                self.sweep();
                if self.is_settled() {
                    return;
                }
                self.wait();
            }
        }
        panic!("never came to rest: {:?}", self.pending());
    }

    /// Time goes on to when the machine wakes up.
    fn wait(&mut self) {
        let at = self.wake_at.expect("a machine with something pending wakes up again");
        let too_long = LONGEST_WAIT + self.set_back;
        assert!(at.since(self.now) < too_long, "what is pending was forgotten: {:?}", self.pending());
        self.move_clock(at.max(self.now.after(Duration::from_millis(1))));
    }

    fn is_settled(&self) -> bool {
        self.core.is_idle() && self.publishing.is_empty() && self.pending().values().all(|held| *held)
    }

    /// What is pending, and whether it is held because its webhook is inactive.
    fn pending(&self) -> BTreeMap<(WebhookId, EventId), bool> {
        let all = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        let webhooks = all.expect("the organization is there").webhooks;
        let mut pending = BTreeMap::new();
        for (event, heard) in &self.expected {
            for webhook in heard {
                let delivery = self.delivery(*webhook, *event).expect("no delivery vanishes");
                if matches!(delivery.delivery.state, stackbell_model::delivery::State::Pending { .. }) {
                    let inactive = webhooks.iter().any(|w| w.id == *webhook && !w.active);
                    pending.insert((*webhook, *event), inactive);
                }
            }
        }
        pending
    }

    pub(crate) fn audit_entries(&self) -> usize {
        now(self.store.list_audit(Some(self.organization), None, 1000)).expect("the store works").len()
    }
}

pub(crate) fn project() -> ProjectName {
    ProjectName::parse("website").expect("a name")
}

pub(crate) fn stack(n: usize) -> StackName {
    StackName::parse(&format!("s{n}")).expect("a name")
}
