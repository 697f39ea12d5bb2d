//! The shell around the machine: one task that drives it, and the tasks that do what it says.
//!
//! ```text
//! producers, people ──Message──> run loop ──Command──> store, sender ──Input──> run loop
//! ```
//!
//! The run loop never waits for anything but its next message, so no lock is held and no IO is done between two decisions.
//! Beside it a sweeper removes what is old, and a recoverer has deliveries tried anew. Where other nodes use the same store,
//! they hear of this one, and it of them.
//! Two nodes fit in one process: nothing here is global.

mod clock;
mod commit_outage;
mod deployments;
mod endpoints;
mod figures;
mod heartbeat;
mod metrics;
mod recoverer;
mod run;
mod sender;
mod sweeper;

use std::sync::Arc;
use std::time::Duration;

use stackbell_keys::Keyring;
use stackbell_model::Entropy;
use stackbell_model::event::Event;
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, NodeId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::EngineStore;
use stackbell_store::commit::{ItemChange, Receipt};
use stackbell_store::history::{StoredAttempt, StoredDelivery};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::core::{
    Authority, Core, CoreConfig, Input, LaneView, Neighbours, OnDemand, OnDemandRefusal, PublishRefusal,
    SendNow,
};
use crate::outbound::OutboundClient;

pub use clock::WaitingClock;
pub use metrics::Metrics;
pub use sweeper::Retention;

/// Messages that wait for the run loop. Producers beyond this wait in their own tasks.
const INBOX_MAX: usize = 4096;

/// Payload bytes of events that wait to be accepted, in all. Beyond this producers are told to come back.
const PUBLISHING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Everything that an engine is made of.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn EngineStore>,
    /// What opens webhooks' secrets.
    pub keyring: Arc<Keyring>,
    /// What sends.
    pub outbound: OutboundClient,
    /// The one clock.
    pub clock: Arc<dyn WaitingClock>,
    /// Chance for ids, leases and jitter.
    pub entropy: Box<dyn Entropy>,
    /// The machine's limits.
    pub config: CoreConfig,
    /// Where this server is reached: what links in messages are built from.
    pub public_url: Option<Url>,
    /// How long finished things are kept.
    pub retention: Retention,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// A running engine. Stop it with [`Engine::stop`]; dropped, it ends with nothing recorded of what is in flight.
pub struct Engine {
    handle: EngineHandle,
    tasks: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    ended: CancellationToken,
}

/// A way to ask things of the engine.
#[derive(Clone)]
pub struct EngineHandle {
    inbox: mpsc::Sender<Message>,
    publishing: Arc<Semaphore>,
    recovery_created: Arc<Notify>,
    webhook_deleted: Arc<Notify>,
    nodes: watch::Receiver<usize>,
    metrics: Arc<Metrics>,
}

/// How an engine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything under way was recorded.
    Clean,
    /// Time ran out while the store did not take what was left. It will be sent again: nothing is lost.
    Cut,
}

enum Message {
    Publish {
        organization: OrganizationId,
        authority: Authority,
        change: Option<Box<ItemChange>>,
        events: Vec<Event>,
        reply: PublishReply,
    },
    OnDemand {
        request: OnDemand,
        reply: OnDemandReply,
    },
    Look(figures::Look),
    Input(Input),
}

type PublishReply = oneshot::Sender<Result<Vec<Receipt>, PublishRefusal>>;
type OnDemandReply = oneshot::Sender<Result<Box<StoredAttempt>, OnDemandRefusal>>;

impl Engine {
    /// SlowStart an engine. It begins with what an earlier one left.
    pub fn start(parts: Parts) -> Self {
        let Parts { store, keyring, outbound, clock, mut entropy, config, public_url, retention, metrics } =
            parts;
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let (soft, hard, ended) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let node = NodeId::generate(&mut *entropy);
        let is_shared = store.is_shared();
        let neighbours = if is_shared { Neighbours::unknown(node) } else { Neighbours::alone(node) };
        let core = Core::new(config.clone(), neighbours, public_url, entropy, clock.now());
        let endpoints = endpoints::Endpoints::new(Arc::clone(&store), Arc::clone(&keyring));
        let deployments = deployments::Deployments::new(Arc::clone(&store), keyring);
        let sender = Arc::new(sender::Sender::new(endpoints, deployments, outbound, hard.clone()));
        let run = run::Run {
            core,
            store: Arc::clone(&store),
            sender,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            inbox: inbox.clone(),
            tasks: tasks.clone(),
            soft: soft.clone(),
            ended: ended.clone(),
            commit_outage: Arc::default(),
        };
        let idle = CancellationToken::new();
        let has_ended = idle.clone().drop_guard();
        tasks.spawn(async move {
            run.run(messages).await;
            drop(has_ended);
        });
        let (nodes, nodes_seen) = watch::channel(1);
        metrics.nodes(1);
        if is_shared {
            let (store, clock, metrics) = (Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics));
            let wake_ups =
                heartbeat::WakeUps { store: Arc::clone(&store), inbox: inbox.clone(), soft: soft.clone() };
            spawn_part(&tasks, &ended, wake_ups.run());
            let inbox = inbox.clone();
            let presence = heartbeat::Heartbeat { node, store, clock, metrics, inbox, nodes, idle };
            spawn_part(&tasks, &ended, presence.run());
        }
        let recovery_created = Arc::new(Notify::new());
        let recoverer = recoverer::Recoverer {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            inbox: inbox.clone(),
            created: Arc::clone(&recovery_created),
            soft: soft.clone(),
        };
        spawn_part(&tasks, &ended, recoverer.run());
        let figures = figures::Figures {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            inbox: inbox.clone(),
            soft: soft.clone(),
        };
        spawn_part(&tasks, &ended, figures.run());
        let webhook_deleted = Arc::new(Notify::new());
        let sweeper = sweeper::Sweeper {
            webhook_deleted: Arc::clone(&webhook_deleted),
            store,
            clock,
            retention,
            retry: config.retry,
            metrics: Arc::clone(&metrics),
            soft: soft.clone(),
        };
        spawn_part(&tasks, &ended, sweeper.run());
        tasks.close();
        let publishing = Arc::new(Semaphore::new(PUBLISHING_BYTES_MAX));
        let handle =
            EngineHandle { inbox, publishing, recovery_created, webhook_deleted, nodes: nodes_seen, metrics };
        Self { handle, tasks, soft, hard, ended }
    }

    /// A way to ask things of it.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Ends once any part of the engine has ended, which it does by itself only through a defect.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes no new work and lets attempts in flight end within `limit`; then cuts what is left, which spends no attempt.
    /// What came of them is recorded.
    pub async fn stop(self, limit: Duration) -> Stopped {
        self.soft.cancel();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_ok() {
            return Stopped::Clean;
        }
        self.hard.cancel();
        // Recording takes a commit or two; a store that cannot take them now would not later either.
        match tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await {
            Ok(()) => Stopped::Clean,
            Err(_) => Stopped::Cut,
        }
    }
}

/// A task that ends unasked, by a panic, ends the engine.
fn spawn_part(
    tasks: &TaskTracker,
    ended: &CancellationToken,
    part: impl Future<Output = ()> + std::marker::Send + 'static,
) {
    let guard = ended.clone().drop_guard();
    tasks.spawn(async move {
        part.await;
        drop(guard);
    });
}

impl EngineHandle {
    /// How many nodes are at work on the store, as this one sees them: what is limited for all of them together is shared
    /// out among so many. 1 where the store is this node's alone, and until others were seen.
    pub fn nodes(&self) -> usize {
        *self.nodes.borrow()
    }

    /// Accepts events and a change of an organization, all or none. After `Ok` they and the deliveries are on disk (invariant 1).
    /// A right to publish that is given with its version held at the commit (invariant 10).
    ///
    /// # Errors
    /// [`PublishRefusal`]. Nothing was accepted, with two exceptions: after `Unavailable` everything may have been, and after
    /// `EventsDropped` the change is.
    pub async fn publish(
        &self,
        organization: OrganizationId,
        authority: Authority,
        change: Option<Box<ItemChange>>,
        events: Vec<Event>,
    ) -> Result<Vec<Receipt>, PublishRefusal> {
        let count = events.len();
        let response = self.try_publish(organization, authority, change, events).await;
        match response {
            Ok(_) => {}
            Err(PublishRefusal::EventsDropped(_)) => self.metrics.dropped(count),
            Err(refusal) => self.metrics.refused(refusal),
        }
        response
    }

    async fn try_publish(
        &self,
        organization: OrganizationId,
        authority: Authority,
        change: Option<Box<ItemChange>>,
        events: Vec<Event>,
    ) -> Result<Vec<Receipt>, PublishRefusal> {
        let bytes = events.iter().map(|event| event.payload.len()).sum::<usize>().min(PUBLISHING_BYTES_MAX);
        let bytes = u32::try_from(bytes).expect("the bound is less");
        let _room = self.publishing.try_acquire_many(bytes).map_err(|_| PublishRefusal::Overloaded)?;
        let (reply, response) = oneshot::channel();
        let sent = self.inbox.send(Message::Publish { organization, authority, change, events, reply }).await;
        sent.map_err(|_| PublishRefusal::Unavailable)?;
        response.await.unwrap_or(Err(PublishRefusal::Unavailable))
    }

    /// Pings a webhook and records it, whatever the endpoint answers.
    ///
    /// # Errors
    /// [`OnDemandRefusal`]; except for `Overloaded`, the ping may have been sent.
    pub async fn ping(&self, webhook: Arc<Webhook>) -> Result<Box<StoredAttempt>, OnDemandRefusal> {
        self.on_demand(OnDemand::Ping { webhook }).await
    }

    /// Makes one more attempt of a delivery and records it, whatever the endpoint answers.
    ///
    /// # Errors
    /// [`OnDemandRefusal`]; except for `Overloaded`, the attempt may have been made.
    pub async fn redeliver(
        &self,
        webhook: Arc<Webhook>,
        delivery: StoredDelivery,
    ) -> Result<Box<StoredAttempt>, OnDemandRefusal> {
        self.on_demand(OnDemand::Redeliver { webhook, delivery: Box::new(delivery) }).await
    }

    async fn on_demand(&self, request: OnDemand) -> Result<Box<StoredAttempt>, OnDemandRefusal> {
        let (reply, response) = oneshot::channel();
        let sent = self.inbox.send(Message::OnDemand { request, reply }).await;
        sent.map_err(|_| OnDemandRefusal::Unavailable)?;
        response.await.unwrap_or(Err(OnDemandRefusal::Unavailable))
    }

    /// The state of webhooks' lanes on this node, in the order asked; each comes with its health as the store has it now.
    /// `None` where the engine has ended, or does not answer within a second.
    pub async fn lane_views(&self, webhooks: Vec<(WebhookId, Health)>) -> Option<Vec<LaneView>> {
        figures::ask_for_person(&self.inbox, |reply| figures::Look::Lanes { webhooks, reply }).await
    }

    /// Whether this node is attempting a delivery, or has yet to record the outcome. False where the engine does not answer
    /// within a second.
    pub async fn is_under_way(&self, delivery: DeliveryId) -> bool {
        let look = |reply| figures::Look::UnderWay { delivery, reply };
        figures::ask_for_person(&self.inbox, look).await.unwrap_or(false)
    }

    /// Says that a webhook was created, edited, resumed or deleted, so that what is held may go on at once.
    /// Without it what is held goes on a little later: every intake is checked against the store, and held lanes are
    /// looked at again now and then.
    pub async fn webhook_changed(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::WebhookChanged { organization, webhook }).await;
    }

    /// Says that a person wants pending deliveries of a webhook sent now. An attempt is made at once, even where the webhook's
    /// breaker is open or its endpoint asked to wait. Caps, pace and holds are kept to.
    pub async fn send_now(&self, organization: OrganizationId, webhook: WebhookId, which: SendNow) {
        self.tell(Input::SendNow { organization, webhook, which }).await;
    }

    /// Says that a webhook was deleted: its pending deliveries are cancelled at once, and not with a later sweep.
    pub async fn webhook_deleted(&self, organization: OrganizationId, webhook: WebhookId) {
        self.webhook_changed(organization, webhook).await;
        self.webhook_deleted.notify_one();
    }

    /// Says that a change of a webhook ended a suspension or what the endpoint asked for, or forgot its failures: its pending
    /// deliveries go on.
    pub async fn webhook_set_going(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::WebhookSetGoing { organization, webhook }).await;
    }

    /// Says that one of a webhook's deliveries was cancelled. Without it that is found a little later.
    pub async fn lane_changed(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::LaneChanged { organization, webhook }).await;
    }

    /// Says that sending was held or resumed, so that it is read anew at once. Without it that is read a little later.
    pub async fn sending_changed(&self) {
        self.tell(Input::SendingChanged).await;
    }

    /// Says that a recovery was created, so that it begins at once. Without it that is found a little later.
    pub fn recovery_created(&self) {
        self.recovery_created.notify_one();
    }

    async fn tell(&self, input: Input) {
        // An engine that has ended has nothing to be told.
        let _ = self.inbox.send(Message::Input(input)).await;
    }
}
