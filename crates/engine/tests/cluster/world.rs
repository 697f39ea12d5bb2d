//! Nodes, their store, and requests in flight.

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
use stackbell_model::delivery::{Attempt, Delivery, Outcome, Response, Silence};
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
    /// The number of its searches for lanes.
    searches: usize,
}

/// An action at a chosen moment.
type Happening = Box<dyn FnOnce(&mut Cluster)>;

/// A request in flight.
pub(crate) struct UnderWay {
    pub(crate) node: usize,
    pub(crate) send: Box<AttemptRequest>,
}

pub(crate) struct Cluster {
    pub(crate) store: MemoryStore,
    pub(crate) now: Timestamp,
    pub(crate) config: CoreConfig,
    pub(crate) network: Vec<UnderWay>,
    /// When requests were sent, and from which node.
    pub(crate) sent: Vec<(Timestamp, usize)>,
    /// The events of the requests.
    pub(crate) sent_events: Vec<EventId>,
    /// The number of commits that found changed webhooks.
    pub(crate) stale: usize,
    /// The payload of events.
    pub(crate) payload: Bytes,
    /// The last published event.
    pub(crate) last_event: Option<EventId>,
    /// Whether the store accepts returned leases.
    pub(crate) can_release: bool,
    organization: OrganizationId,
    entropy: SeededEntropy,
    nodes: Vec<Node>,
    tickets: u64,
    answers: Vec<Result<Vec<Receipt>, PublishRefusal>>,
    /// Runs once, before the next commit.
    before_commit: Option<Happening>,
    /// Runs once, after the next commit and before its node is told.
    after_commit: Option<Happening>,
    /// Runs once, after webhooks are read and before the node is told.
    after_load: Option<Happening>,
}

impl Cluster {
    /// Creates this many nodes, which do not know of each other yet.
    pub(crate) fn of(nodes: u128) -> Self {
        Self::with(CoreConfig::default().shared(), nodes)
    }

    /// Creates nodes with other settings.
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

    /// Creates nodes that know of each other.
    pub(crate) fn acquainted(nodes: u128) -> Self {
        let mut cluster = Self::of(nodes);
        cluster.meet((0..cluster.nodes.len()).collect());
        cluster
    }

    /// These nodes see each other, and no others.
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

    /// Creates a webhook for all events, without telling a node.
    pub(crate) fn webhook(&mut self) -> WebhookId {
        self.webhook_with(|_| ())
    }

    /// Creates a changed webhook for all events.
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

    /// The current webhook in the store.
    pub(crate) fn stored(&self, id: WebhookId) -> Webhook {
        let found = now(self.store.webhook(self.organization, id)).expect("the store works");
        found.expect("it is there")
    }

    /// Edits a webhook's URL, without telling a node.
    pub(crate) fn edit(&mut self, id: WebhookId, url: &str) {
        self.change(id, |webhook| webhook.payload_url = PayloadUrl::from_stored(url));
    }

    /// Edits a webhook, without telling a node.
    pub(crate) fn change(&mut self, id: WebhookId, change: impl FnOnce(&mut Webhook)) {
        let mut webhook = self.stored(id);
        change(&mut webhook);
        let audit = self.audit();
        now(self.store.edit_webhook(&webhook, audit)).expect("the store works");
    }

    /// Tells a node that somebody edited a webhook through it.
    pub(crate) fn tell_edited(&mut self, node: usize, webhook: WebhookId) {
        self.turn(node, vec![Input::WebhookChanged { organization: self.organization, webhook }]);
    }

    /// Tells a node that somebody released a webhook's deliveries through it.
    pub(crate) fn tell_set_going(&mut self, node: usize, webhook: WebhookId) {
        self.turn(node, vec![Input::WebhookSetGoing { organization: self.organization, webhook }]);
    }

    /// Asks a node to redeliver the last event to a webhook.
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

    /// Asks a node to retry a webhook's delivery of an event.
    pub(crate) fn retry(&mut self, node: usize, id: WebhookId, event: EventId) {
        let delivery = self.delivery(id, event).id;
        let audit = self.audit();
        let changed = now(self.store.retry_delivery(self.organization, delivery, audit));
        assert_eq!(changed.expect("the store works"), DeliveryChange::Done { webhook: id });
        self.ask_for_lane(node, id, SendNow::One);
    }

    /// Tells a node that somebody wants pending deliveries of a webhook sent now.
    pub(crate) fn ask_for_lane(&mut self, node: usize, webhook: WebhookId, which: SendNow) {
        self.turn(node, vec![Input::SendNow { organization: self.organization, webhook, which }]);
    }

    /// Asks a node to ping a webhook.
    pub(crate) fn ping(&mut self, node: usize, id: WebhookId) {
        let webhook = Arc::new(self.stored(id));
        self.tickets += 1;
        let (ticket, request) = (OnDemandTicket(self.tickets), OnDemand::Ping { webhook });
        self.turn(node, vec![Input::OnDemand { ticket, request }]);
    }

    /// The delivery of an event to a webhook.
    pub(crate) fn delivery(&self, id: WebhookId, event: EventId) -> Delivery {
        let found = now(self.store.find_delivery(id, event)).expect("the store works");
        found.expect("it is there").delivery
    }

    /// The number of deliveries of a webhook that a new node could lease now.
    pub(crate) fn leasable(&mut self, webhook: WebhookId) -> usize {
        let token = LeaseToken::generate(&mut self.entropy);
        let request = LaneRequest { webhook, limit: NonZeroU32::MAX, mode: LaneMode::Due };
        // The lease ends at once.
        let lease = Lease { token, until: self.now };
        let leased = now(self.store.lease_deliveries(&[request], self.now, lease));
        leased.expect("the store works").lanes[0].deliveries.len()
    }

    /// Holds or resumes all sending, without telling a node.
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

    /// The current version of the organization.
    pub(crate) fn version(&self) -> u64 {
        let webhooks = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        webhooks.expect("the organization is there").version
    }

    /// Publishes an event through a node, with a right as of a version, and returns the response.
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

    /// Publishes an event with a current right.
    pub(crate) fn publish(&mut self, node: usize) -> u32 {
        let version = self.version();
        self.publish_as_of(node, version).expect("accepted")
    }

    /// Runs an action once, before the next commit.
    pub(crate) fn before_commit(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.before_commit = Some(Box::new(what));
    }

    /// Runs an action once, after the next commit and before its node is told.
    pub(crate) fn after_commit(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.after_commit = Some(Box::new(what));
    }

    /// Runs an action once, after webhooks are read and before the node is told.
    pub(crate) fn after_load(&mut self, what: impl FnOnce(&mut Self) + 'static) {
        self.after_load = Some(Box::new(what));
    }

    /// Feeds inputs to a node, executes its store commands, and feeds it the results.
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

    /// Ends every request in flight with this outcome, after a short time.
    pub(crate) fn end_all(&mut self, outcome: &Outcome) {
        self.end_all_after(Duration::from_millis(1), outcome);
    }

    /// Ends every request in flight after this time; the clock does not move.
    pub(crate) fn end_all_after(&mut self, duration: Duration, outcome: &Outcome) {
        self.end_each(duration, |_| outcome.clone());
    }

    /// Ends every request in flight with the outcome for its webhook.
    pub(crate) fn end_each(&mut self, duration: Duration, outcome: impl Fn(WebhookId) -> Outcome) {
        for under_way in std::mem::take(&mut self.network) {
            let outcome = outcome(under_way.send.webhook.id);
            self.end(under_way, duration, outcome);
        }
    }

    /// Ends the first request in flight, after a short time.
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

    /// Advances the time. Nodes wake up as they asked, and their requests end with this outcome.
    pub(crate) fn pass(&mut self, time: Duration, outcome: &Outcome) {
        self.pass_with(time, |cluster| cluster.end_all(outcome));
    }

    /// Advances the time; no request ends.
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

    /// Advances the time, and wakes only this node.
    pub(crate) fn turn_after(&mut self, node: usize, time: Duration) {
        self.now = self.now.after(time);
        self.turn(node, vec![Input::Tick]);
    }

    pub(crate) fn searches(&self, node: usize) -> usize {
        self.nodes[node].searches
    }

    /// The number of requests in flight from each node.
    pub(crate) fn in_flight(&self) -> Vec<usize> {
        (0..self.nodes.len()).map(|n| self.network.iter().filter(|one| one.node == n).count()).collect()
    }
}

pub(crate) fn id(n: u128) -> NodeId {
    NodeId::from_uuid(Uuid::from_u128(n + 1))
}

pub(crate) fn answered(status: u16) -> Outcome {
    Outcome::Answered(Response { status, headers: "".into(), body: "".into(), retry_after: None })
}

/// A 429 that asks to wait for this many seconds.
pub(crate) fn throttled(seconds: u64) -> Outcome {
    let retry_after = Some(Duration::from_secs(seconds));
    Outcome::Answered(Response { status: 429, headers: "".into(), body: "".into(), retry_after })
}

pub(crate) fn timed_out() -> Outcome {
    Outcome::Unanswered { silence: Silence::TimedOut, text: "lost".into() }
}
