//! Nodes, their store, and what is on its way to endpoints.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use stackbell_engine::core::{
    AttemptRequest, Authority, Command, Core, CoreConfig, Input, Neighbours, OnDemand, OnDemandTicket,
    Publish, PublishRefusal, PublishTicket, SendNow,
};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Answer, Attempt, Delivery, Outcome, Silence};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet, Subscription};
use stackbell_model::identity::Organization;
use stackbell_model::ids::{AuditId, EventId, EventKey, LeaseToken, NodeId, OrganizationId, WebhookId};
use stackbell_model::names::{DisplayName, OrganizationName, ProjectName, StackName, WebhookName};
use stackbell_model::scope::{Scope, Subject};
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_store::audit::AuditEntry;
use stackbell_store::commit::{Commit, IntakeOutcome, Lease, Receipt};
use stackbell_store::history::History;
use stackbell_store::identity::Identity;
use stackbell_store::instance::{Instance, SendingHold};
use stackbell_store::queue::{LaneMode, LaneRequest, Queue};
use stackbell_store::recoveries::{DeliveryChange, Recoveries};
use stackbell_store::webhooks::Webhooks;
use stackbell_store_memory::MemoryStore;
use stackbell_testkit::SeededEntropy;
use uuid::Uuid;

/// The in-memory store's futures are ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the in-memory store never waits")
}

struct Node {
    core: Core,
    wake_at: Option<Timestamp>,
    /// How many pages of lanes it has looked for.
    searches: usize,
}

/// Something that happens in between.
type Happening = Box<dyn FnOnce(&mut Cluster)>;

/// A request on its way.
pub(crate) struct UnderWay {
    pub(crate) node: usize,
    pub(crate) send: Box<AttemptRequest>,
}

pub(crate) struct Cluster {
    pub(crate) store: MemoryStore,
    pub(crate) now: Timestamp,
    pub(crate) config: CoreConfig,
    pub(crate) network: Vec<UnderWay>,
    /// When requests left, and from which node.
    pub(crate) sent: Vec<(Timestamp, usize)>,
    /// Their events.
    pub(crate) sent_events: Vec<EventId>,
    /// How many commits found that the webhooks had changed.
    pub(crate) stale: usize,
    /// What events say.
    pub(crate) payload: Bytes,
    /// The last one that was published.
    pub(crate) last_event: Option<EventId>,
    /// Whether leases can be given back.
    pub(crate) can_release: bool,
    organization: OrganizationId,
    entropy: SeededEntropy,
    nodes: Vec<Node>,
    tickets: u64,
    answers: Vec<Result<Vec<Receipt>, PublishRefusal>>,
    /// Happens once, before the next commit.
    before_commit: Option<Happening>,
    /// Happens once, when the next commit is done and its node has not heard of it.
    after_commit: Option<Happening>,
    /// Happens once, when webhooks are read and the node has not heard of it.
    after_load: Option<Happening>,
}

impl Cluster {
    /// So many nodes that do not know of each other yet.
    pub(crate) fn of(nodes: u128) -> Self {
        Self::with(CoreConfig::default().shared(), nodes)
    }

    /// The same with other settings.
    pub(crate) fn with(config: CoreConfig, nodes: u128) -> Self {
        let mut cluster = Self {
            store: MemoryStore::shared(),
            now: Timestamp::from_millis(1_778_653_205_000),
            config,
            network: Vec::new(),
            sent: Vec::new(),
            sent_events: Vec::new(),
            stale: 0,
            payload: Bytes::from_static(b"{}"),
            last_event: None,
            can_release: true,
            organization: OrganizationId::from_uuid(Uuid::from_u128(1)),
            entropy: SeededEntropy::new(1),
            nodes: Vec::new(),
            tickets: 0,
            answers: Vec::new(),
            before_commit: None,
            after_commit: None,
            after_load: None,
        };
        let organization = Organization {
            id: cluster.organization,
            name: OrganizationName::parse("acme").expect("a name"),
            display_name: DisplayName::parse("Acme").expect("a name"),
            avatar_url: String::new(),
            created_at: cluster.now,
        };
        let audit = cluster.audit();
        assert!(now(cluster.store.create_organization(&organization, None, audit)).expect("the store works"));
        for n in 0..nodes {
            let (config, entropy) = (cluster.config.clone(), Box::new(SeededEntropy::new(2 + n as u64)));
            let core = Core::new(config, Neighbours::unknown(id(n)), None, entropy, cluster.now);
            cluster.nodes.push(Node { core, wake_at: None, searches: 0 });
            cluster.turn(cluster.nodes.len() - 1, vec![Input::Tick]);
        }
        cluster
    }

    /// The same, who have seen each other.
    pub(crate) fn acquainted(nodes: u128) -> Self {
        let mut cluster = Self::of(nodes);
        cluster.meet((0..cluster.nodes.len()).collect());
        cluster
    }

    /// These nodes, and no others, see each other at work.
    pub(crate) fn meet(&mut self, nodes: Vec<usize>) {
        let ids: Vec<_> = nodes.iter().map(|n| id(*n as u128)).collect();
        for node in nodes {
            self.turn(node, vec![Input::NodesSeen { nodes: ids.clone() }]);
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

    /// A webhook for everything. No node is told.
    pub(crate) fn webhook(&mut self) -> WebhookId {
        self.webhook_with(|_| ())
    }

    /// A webhook for everything that is set up otherwise.
    pub(crate) fn webhook_with(&mut self, change: impl FnOnce(&mut Webhook)) -> WebhookId {
        let id = WebhookId::generate(self.now, &mut self.entropy);
        let mut webhook = Webhook {
            id,
            organization: self.organization,
            scope: Scope::Organization,
            name: WebhookName::parse(&format!("w{}", self.version())).expect("a name"),
            display_name: DisplayName::parse("a webhook").expect("a name"),
            payload_url: PayloadUrl::from_stored("https://example.com/hook"),
            active: true,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: None,
            pause_reason: None,
            created_at: self.now,
            revision: 1,
            health: Default::default(),
        };
        change(&mut webhook);
        let audit = self.audit();
        now(self.store.create_webhook(&webhook, 1000, audit)).expect("the store works");
        id
    }

    /// A webhook as it stands now.
    pub(crate) fn stored(&self, id: WebhookId) -> Webhook {
        let found = now(self.store.webhook(self.organization, id)).expect("the store works");
        found.expect("it is there")
    }

    /// Edits a webhook's URL. No node is told.
    pub(crate) fn edit(&mut self, id: WebhookId, url: &str) {
        self.change(id, |webhook| webhook.payload_url = PayloadUrl::from_stored(url));
    }

    /// Edits a webhook. No node is told.
    pub(crate) fn change(&mut self, id: WebhookId, change: impl FnOnce(&mut Webhook)) {
        let mut webhook = self.stored(id);
        change(&mut webhook);
        let audit = self.audit();
        now(self.store.edit_webhook(&webhook, audit)).expect("the store works");
    }

    /// A node hears that somebody edited a webhook through it.
    pub(crate) fn tell_edited(&mut self, node: usize, webhook: WebhookId) {
        self.turn(node, vec![Input::WebhookChanged { organization: self.organization, webhook }]);
    }

    /// A node hears that somebody had a webhook go on through it.
    pub(crate) fn tell_set_going(&mut self, node: usize, webhook: WebhookId) {
        self.turn(node, vec![Input::WebhookSetGoing { organization: self.organization, webhook }]);
    }

    /// Somebody asks a node to send the last event to a webhook once more.
    pub(crate) fn redeliver(&mut self, node: usize, id: WebhookId) {
        let webhook = now(self.store.webhook(self.organization, id)).expect("the store works");
        let event = self.last_event.expect("one was published");
        let delivery = now(self.store.find_delivery(id, event)).expect("the store works");
        self.tickets += 1;
        let request = OnDemand::Redeliver {
            webhook: Arc::new(webhook.expect("it is there")),
            delivery: Box::new(delivery.expect("it is there")),
        };
        self.turn(node, vec![Input::OnDemand { ticket: OnDemandTicket(self.tickets), request }]);
    }

    /// Somebody has a webhook's delivery of an event tried now, through a node.
    pub(crate) fn retry(&mut self, node: usize, id: WebhookId, event: EventId) {
        let delivery = self.delivery(id, event).id;
        let audit = self.audit();
        let changed = now(self.store.retry_delivery(self.organization, delivery, audit));
        assert_eq!(changed.expect("the store works"), DeliveryChange::Done { webhook: id });
        self.ask_for_lane(node, id, SendNow::One);
    }

    /// A node hears that somebody wants pending deliveries of a webhook sent now.
    pub(crate) fn ask_for_lane(&mut self, node: usize, webhook: WebhookId, which: SendNow) {
        self.turn(node, vec![Input::SendNow { organization: self.organization, webhook, which }]);
    }

    /// Somebody asks a node to ping a webhook.
    pub(crate) fn ping(&mut self, node: usize, id: WebhookId) {
        let webhook = Arc::new(self.stored(id));
        self.tickets += 1;
        let (ticket, request) = (OnDemandTicket(self.tickets), OnDemand::Ping { webhook });
        self.turn(node, vec![Input::OnDemand { ticket, request }]);
    }

    /// A webhook's delivery of an event.
    pub(crate) fn delivery(&self, id: WebhookId, event: EventId) -> Delivery {
        let found = now(self.store.find_delivery(id, event)).expect("the store works");
        found.expect("it is there").delivery
    }

    /// How many deliveries of a webhook anybody could lease now.
    pub(crate) fn leasable(&mut self, webhook: WebhookId) -> usize {
        let token = LeaseToken::generate(&mut self.entropy);
        let request = LaneRequest { webhook, limit: NonZeroU32::MAX, mode: LaneMode::Due };
        // Over as soon as it has begun.
        let lease = Lease { token, until: self.now };
        let leased = now(self.store.lease_deliveries(&[request], self.now, lease));
        leased.expect("the store works").lanes[0].deliveries.len()
    }

    /// All sending is held, or resumed. No node is told.
    pub(crate) fn set_held(&mut self, held: bool) {
        let audit = self.audit();
        let hold = SendingHold { since: self.now, reason: "to see".into() };
        let done = if held {
            now(self.store.hold_sending(&hold, audit))
        } else {
            now(self.store.resume_sending(audit))
        };
        assert!(done.expect("the store works"));
    }

    /// The organization's version as it stands.
    pub(crate) fn version(&self) -> u64 {
        let webhooks = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        webhooks.expect("the organization is there").version
    }

    /// Publishes an event through a node, by a right as of a version; the answer.
    pub(crate) fn publish_as_of(&mut self, node: usize, version: u64) -> Result<u32, PublishRefusal> {
        self.tickets += 1;
        let event = Event {
            key: EventKey::generate(self.now, &mut self.entropy),
            id: EventId::generate(&mut self.entropy),
            organization: self.organization,
            kind: EventKind::StackUpdate,
            filters: FilterSet::EMPTY.with(Filter::UpdateSucceeded),
            subject: Subject::Stack {
                project: ProjectName::parse("web").expect("a name"),
                stack: StackName::parse("prod").expect("a name"),
            },
            payload: self.payload.clone(),
            digest: None,
            accepted_at: self.now,
            source: Source::Api,
            token: None,
        };
        self.last_event = Some(event.id);
        let (ticket, authority) = (PublishTicket(self.tickets), Authority::AsOf { version });
        let publish =
            Publish { ticket, organization: self.organization, authority, change: None, events: vec![event] };
        self.turn(node, vec![Input::Publish(publish)]);
        let answer = self.answers.pop().expect("it is answered at once");
        answer.map(|receipts| receipts[0].deliveries)
    }

    /// The same by a right that stands.
    pub(crate) fn publish(&mut self, node: usize) -> u32 {
        let version = self.version();
        self.publish_as_of(node, version).expect("accepted")
    }

    /// Does something once, before the next commit.
    pub(crate) fn before_commit(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.before_commit = Some(Box::new(what));
    }

    /// Does something once, when the next commit is done and its node has not heard of it.
    pub(crate) fn after_commit(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.after_commit = Some(Box::new(what));
    }

    /// Does something once, when webhooks are read and the node has not heard of it.
    pub(crate) fn after_load(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.after_load = Some(Box::new(what));
    }

    /// A node takes in what happened; what it asks of the store is done, and it hears of that.
    pub(crate) fn turn(&mut self, node: usize, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            let Node { core, wake_at, .. } = &mut self.nodes[node];
            let mut commands = Vec::new();
            for input in inputs.drain(..) {
                core.handle(input, self.now, &mut commands);
            }
            *wake_at = None;
            core.flush(self.now, &mut commands);
            for command in commands {
                inputs.extend(self.execute(node, command));
            }
        }
    }

    fn execute(&mut self, node: usize, command: Command) -> Option<Input> {
        Some(match command {
            Command::LoadWebhooks { organization } => {
                let webhooks = now(self.store.organization_webhooks(organization)).expect("the store works");
                if let Some(what) = self.after_load.take() {
                    what(self);
                }
                Input::WebhooksLoaded { organization, webhooks }
            }
            Command::Commit { number, batch } => {
                if let Some(what) = self.before_commit.take() {
                    what(self);
                }
                let outcome = now(self.store.commit(Arc::clone(&batch))).expect("the store works");
                self.stale += outcome.intakes.iter().filter(|one| **one == IntakeOutcome::Stale).count();
                if let Some(what) = self.after_commit.take() {
                    what(self);
                }
                Input::Committed { number, outcome }
            }
            Command::Lease { lanes, lease } => {
                let leased = now(self.store.lease_deliveries(&lanes, self.now, lease));
                Input::Leased(leased.expect("the store works"))
            }
            Command::Release { held } => {
                if self.can_release {
                    now(self.store.release_deliveries(&held)).expect("the store works");
                }
                Input::Released { held, done: self.can_release }
            }
            Command::FindLanes { after, limit } => {
                self.nodes[node].searches += 1;
                Input::LanesFound { lanes: now(self.store.due_lanes(after, limit)).expect("the store works") }
            }
            Command::ReadSendingHold => {
                Input::SendingRead { hold: now(self.store.sending_hold()).expect("the store works") }
            }
            Command::Attempt(send) => {
                self.sent.push((self.now, node));
                self.sent_events.push(send.delivery.event_id);
                self.network.push(UnderWay { node, send });
                return None;
            }
            Command::RespondPublish { response, .. } => {
                self.answers.push(response);
                return None;
            }
            Command::WakeAt(at) => {
                self.nodes[node].wake_at = Some(at);
                return None;
            }
            Command::RespondOnDemand { .. } | Command::Note(_) => return None,
        })
    }

    /// Every request under way ends like this, quickly.
    pub(crate) fn end_all(&mut self, outcome: &Outcome) {
        self.end_all_after(Duration::from_millis(1), outcome);
    }

    /// The same after so long; the clock is not moved.
    pub(crate) fn end_all_after(&mut self, duration: Duration, outcome: &Outcome) {
        self.end_each(duration, |_| outcome.clone());
    }

    /// The same, as it is for each webhook.
    pub(crate) fn end_each(&mut self, duration: Duration, outcome: impl Fn(WebhookId) -> Outcome) {
        for under_way in std::mem::take(&mut self.network) {
            let outcome = outcome(under_way.send.webhook.id);
            self.end(under_way, duration, outcome);
        }
    }

    /// The first request under way ends like this, quickly.
    pub(crate) fn end_first(&mut self, outcome: &Outcome) {
        let first = self.network.remove(0);
        self.end(first, Duration::from_millis(1), outcome.clone());
    }

    fn end(&mut self, UnderWay { node, send }: UnderWay, duration: Duration, outcome: Outcome) {
        let attempt = Attempt {
            trigger: send.trigger,
            started_at: send.started_at,
            duration,
            request_url: "https://example.com/hook".into(),
            request_headers: "".into(),
            outcome,
        };
        self.turn(node, vec![Input::AttemptEnded { key: send.key, attempt: Box::new(attempt) }]);
    }

    /// Time passes, and nodes wake up when they want to; what they send ends like this.
    pub(crate) fn pass(&mut self, time: Duration, outcome: &Outcome) {
        self.pass_with(time, |cluster| cluster.end_all(outcome));
    }

    /// The same; nothing that is under way ends.
    pub(crate) fn wake(&mut self, time: Duration) {
        self.pass_with(time, |_| ());
    }

    fn pass_with(&mut self, time: Duration, mut between: impl FnMut(&mut Self)) {
        let until = self.now.after(time);
        loop {
            between(self);
            let woken = (0..self.nodes.len()).filter_map(|n| Some((self.nodes[n].wake_at?, n))).min();
            let Some((at, node)) = woken.filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            self.turn(node, vec![Input::Tick]);
        }
        self.now = until;
    }

    /// Time passes, and only this node notices.
    pub(crate) fn turn_after(&mut self, node: usize, time: Duration) {
        self.now = self.now.after(time);
        self.turn(node, vec![Input::Tick]);
    }

    pub(crate) fn searches(&self, node: usize) -> usize {
        self.nodes[node].searches
    }

    /// How many requests are under way from each node.
    pub(crate) fn in_flight(&self) -> Vec<usize> {
        (0..self.nodes.len()).map(|n| self.network.iter().filter(|one| one.node == n).count()).collect()
    }
}

pub(crate) fn id(n: u128) -> NodeId {
    NodeId::from_uuid(Uuid::from_u128(n + 1))
}

pub(crate) fn answered(status: u16) -> Outcome {
    Outcome::Answered(Answer { status, headers: "".into(), body: "".into(), retry_after: None })
}

/// A 429 that asks to be left alone for so many seconds.
pub(crate) fn throttled(seconds: u64) -> Outcome {
    let retry_after = Some(Duration::from_secs(seconds));
    Outcome::Answered(Answer { status: 429, headers: "".into(), body: "".into(), retry_after })
}

pub(crate) fn timed_out() -> Outcome {
    Outcome::Unanswered { silence: Silence::TimedOut, text: "lost".into() }
}
