//! A node, its disk, its network, its clock, and the people around it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use stackbell_engine::core::{
    Ask, AskTicket, Command, Core, CoreConfig, Input, Publish, PublishRefusal, PublishTicket, Send,
};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet, Subscription};
use stackbell_model::health::Health;
use stackbell_model::identity::Organization;
use stackbell_model::ids::{AuditId, DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_model::names::{DisplayName, OrganizationName, ProjectName, StackName, WebhookName};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::scope::{Scope, Subject};
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::audit::{Audit, AuditEntry};
use stackbell_store::history::{History, StoredDelivery};
use stackbell_store::identity::Identity;
use stackbell_store::maintenance::{Maintenance, SweepPolicy};
use stackbell_store::webhooks::{EditOutcome, Webhooks};
use stackbell_store_memory::MemoryStore;

use crate::endpoints::Endpoints;
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
    core: Core,
    entropy: Seeded,
    /// Counts the kills.
    pub life: u32,
    pub(super) disk: Vec<Command>,
    /// What the store has done and the node has not heard of.
    pub(super) unheard: Vec<Input>,
    network: Vec<UnderWay>,
    wake_at: Option<Timestamp>,
    tickets: u64,
    publishing: HashMap<PublishTicket, Vec<EventId>>,
    published: Vec<(EventId, usize)>,
    /// When the last lease of a delivery runs out.
    pub(super) leases: HashMap<DeliveryId, Timestamp>,
    /// By how much the clock was set back, in all: what was due before is due later by as much.
    set_back: Duration,
    /// Webhooks that were edited through another node, of which this one hears only when it searches.
    untold: HashSet<WebhookId>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut entropy = Seeded(ChaCha20Rng::from_seed([1; 32]));
        let now_at = Timestamp::from_millis(1_700_000_000_000);
        let store = MemoryStore::new();
        let organization = OrganizationId::generate(now_at, &mut entropy);
        let core = Core::new(config(), Box::new(Seeded(ChaCha20Rng::from_seed([2; 32]))), now_at);
        let mut world = Self {
            store,
            organization,
            endpoints: Endpoints::default(),
            webhooks: Vec::new(),
            deleted: HashSet::new(),
            answered: HashMap::new(),
            expected: HashMap::new(),
            now: now_at,
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
        for subject in [None, Some(0), Some(0)] {
            self.create(subject);
        }
    }

    fn audit(&mut self) -> AuditEntry {
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

    fn create(&mut self, subject: Option<usize>) {
        let id = WebhookId::generate(self.now, &mut self.entropy);
        let scope = match subject {
            None => Scope::Organization,
            Some(n) => Scope::Stack { project: project(), stack: stack(n) },
        };
        let webhook = Webhook {
            id,
            organization: self.organization,
            scope,
            name: WebhookName::parse(&format!("w{}", self.webhooks.len())).expect("a name"),
            display_name: DisplayName::parse("a webhook").expect("a name"),
            payload_url: PayloadUrl::from_stored("https://example.com/hook"),
            active: true,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            created_at: self.now,
            revision: 1,
            health: Health::default(),
        };
        let audit = self.audit();
        now(self.store.create_webhook(&webhook, 100, audit)).expect("the store works");
        self.webhooks.push(id);
        self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: id }]);
    }

    pub(crate) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish { subject, again } => self.publish(subject, again),
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
            Operation::SetActive { webhook, active, told } => self.set_active(webhook, active, told),
            Operation::Delete { webhook } => self.delete(webhook),
            Operation::Create { subject } => self.create(subject),
            Operation::Ping { webhook } => {
                if let Some(webhook) = self.webhook(webhook) {
                    let ticket = AskTicket(self.ticket());
                    self.turn(vec![Input::Ask { ticket, ask: Ask::Ping { webhook: Arc::new(webhook) } }]);
                }
            }
            Operation::Redeliver { event, webhook } => self.redeliver(event, webhook),
            Operation::Sweep => self.sweep(),
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn publish(&mut self, subject: usize, again: Option<usize>) {
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
        let publish = Publish { ticket, organization: self.organization, events: vec![event] };
        self.turn(vec![Input::Publish(publish)]);
    }

    fn webhook(&self, n: usize) -> Option<Webhook> {
        let id = self.webhooks[n % self.webhooks.len()];
        let all = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        all?.webhooks.into_iter().find(|webhook| webhook.id == id)
    }

    fn set_active(&mut self, n: usize, active: bool, told: bool) {
        let Some(mut webhook) = self.webhook(n) else { return };
        webhook.active = active;
        let audit = self.audit();
        let edited = now(self.store.edit_webhook(&webhook, audit)).expect("the store works");
        assert_eq!(edited, EditOutcome::Done);
        if !told {
            self.untold.insert(webhook.id);
        } else {
            self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: webhook.id }]);
        }
    }

    fn delete(&mut self, n: usize) {
        let Some(webhook) = self.webhook(n) else { return };
        let audit = self.audit();
        now(self.store.delete_webhook(self.organization, &webhook.scope, &webhook.name, audit))
            .expect("the store works");
        self.deleted.insert(webhook.id);
        self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: webhook.id }]);
    }

    fn redeliver(&mut self, event: usize, n: usize) {
        let Some((id, _)) = self.published.get(event).copied() else { return };
        let Some(webhook) = self.webhook(n) else { return };
        let Some(delivery) = self.delivery(webhook.id, id) else { return };
        let ticket = AskTicket(self.ticket());
        let ask = Ask::Redeliver { webhook: Arc::new(webhook), delivery: Box::new(delivery) };
        self.turn(vec![Input::Ask { ticket, ask }]);
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
        self.now = to;
        self.turn(vec![Input::Tick]);
    }

    /// One turn of the machine; its commands go to disk and network, its answers to the people.
    pub(super) fn turn(&mut self, inputs: Vec<Input>) {
        let mut commands = Vec::new();
        for input in inputs {
            self.core.handle(input, self.now, &mut commands);
        }
        self.wake_at = None;
        self.core.flush(self.now, &mut commands);
        for command in commands {
            match command {
                Command::Send(send) => {
                    let lease_until = self.leases.get(&send.delivery.id).copied().unwrap_or(self.now);
                    let place = self.endpoints.leaves(&send, self.life, lease_until);
                    self.network.push(UnderWay { send, place });
                }
                Command::WakeAt(at) => self.wake_at = Some(at),
                Command::AnswerPublish { ticket, answer } => self.producer_is_told(ticket, answer),
                Command::AnswerAsk { .. } | Command::Note(_) => {}
                Command::LoadWebhooks { .. }
                | Command::Commit { .. }
                | Command::Lease { .. }
                | Command::FindLanes { .. } => self.disk.push(command),
            }
        }
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
        self.store.void_leases();
        let seed = [u8::try_from(10 + self.life % 200).expect("less than 210"); 32];
        self.core = Core::new(config(), Box::new(Seeded(ChaCha20Rng::from_seed(seed))), self.now);
        self.turn(Vec::new());
    }

    /// Endpoints accept, the store works, and time goes on until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.endpoints.all_accept();
        for webhook in std::mem::take(&mut self.untold) {
            self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook }]);
        }
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

/// Small limits, so that every one of them is met.
fn config() -> CoreConfig {
    CoreConfig {
        in_flight_max: 8,
        organization_in_flight_max: 6,
        batch_events_max: 3,
        batch_records_max: 2,
        waiting_events_max: 6,
        unrecorded_max: 4,
        waiting_asks_max: 2,
        // Never within a list: the machine must not need it to find what it knows of.
        lanes_search_interval: Duration::from_secs(1000 * 24 * 3600),
        ..CoreConfig::default()
    }
}

fn project() -> ProjectName {
    ProjectName::parse("website").expect("a name")
}

fn stack(n: usize) -> StackName {
    StackName::parse(&format!("s{n}")).expect("a name")
}
