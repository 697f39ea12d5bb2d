//! The shell around the core: one task that drives the core, and the tasks that execute its commands.
//!
//! ```text
//! producers, people ──Message──> run loop ──Command──> store, sender ──Input──> run loop
//! ```
//!
//! The run loop waits only for its next message. It holds no lock and does no IO between two decisions.
//! The sweeper removes old rows, and the recoverer sets deliveries back to pending. If the store is shared, the heartbeat
//! exchanges news with the other nodes. Nothing here is global, so two nodes fit in one process.

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

/// The capacity of the run loop's inbox. Further producers wait in their own tasks.
const INBOX_MAX: usize = 4096;

/// The most payload bytes of events that wait to be accepted. Further publishes are refused as overloaded.
const PUBLISHING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Everything that an engine needs.
pub struct Parts {
    /// The store of all durable state.
    pub store: Arc<dyn EngineStore>,
    /// Decrypts the secrets of webhooks.
    pub keyring: Arc<Keyring>,
    /// Sends requests to endpoints.
    pub outbound: OutboundClient,
    /// The clock, shared by all tasks.
    pub clock: Arc<dyn WaitingClock>,
    /// Randomness for ids, leases and jitter.
    pub entropy: Box<dyn Entropy>,
    /// The limits of the core.
    pub config: CoreConfig,
    /// The public URL of this server, the base of links in messages.
    pub public_url: Option<Url>,
    /// How long finished deliveries and audit entries are kept.
    pub retention: Retention,
    /// The metrics to update.
    pub metrics: Arc<Metrics>,
}

/// A running engine. Stop it with [`Engine::stop`]. Dropping it loses the outcomes of attempts in flight.
pub struct Engine {
    handle: EngineHandle,
    tasks: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    ended: CancellationToken,
}

/// A handle for requests to the engine.
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
    /// Every outcome was recorded.
    Clean,
    /// The store did not record all outcomes in time. Those deliveries will be sent again; nothing is lost.
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
    /// Starts an engine. It continues with the work that an earlier one left in the store.
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

    /// Returns a handle for requests.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Returns once any task of the engine has ended. A task ends by itself only because of a defect.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes no new work and lets attempts in flight end within `limit`. Then the remaining attempts are cut, which does not
    /// count as an attempt. All outcomes are recorded.
    pub async fn stop(self, limit: Duration) -> Stopped {
        self.soft.cancel();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_ok() {
            return Stopped::Clean;
        }
        self.hard.cancel();
        // Recording takes a commit or two. If the store cannot commit now, more time would not help.
        match tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await {
            Ok(()) => Stopped::Clean,
            Err(_) => Stopped::Cut,
        }
    }
}

/// Spawns a task of the engine. If it panics, the whole engine ends.
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
    /// The number of live nodes on this store, as this node sees them. Limits for all nodes together are divided by it. 1 if
    /// the store is not shared, or if no other node has been seen yet.
    pub fn nodes(&self) -> usize {
        *self.nodes.borrow()
    }

    /// Accepts events and a change of an organization, all or nothing. After `Ok`, they and their deliveries are on disk
    /// (invariant 1). If the caller's right to publish is given, the commit validates its version (invariant 10).
    ///
    /// # Errors
    /// [`PublishRefusal`]. Nothing was accepted, with two exceptions: after `Unavailable` everything may have been accepted,
    /// and after `EventsDropped` the change was accepted.
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

    /// Pings a webhook and records the attempt, whatever the endpoint responds.
    ///
    /// # Errors
    /// [`OnDemandRefusal`]. Except after `Overloaded`, the ping may have been sent.
    pub async fn ping(&self, webhook: Arc<Webhook>) -> Result<Box<StoredAttempt>, OnDemandRefusal> {
        self.on_demand(OnDemand::Ping { webhook }).await
    }

    /// Makes one more attempt of a delivery and records it, whatever the endpoint responds.
    ///
    /// # Errors
    /// [`OnDemandRefusal`]. Except after `Overloaded`, the attempt may have been made.
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

    /// The state of the webhooks' lanes on this node, in the order of `webhooks`. Each webhook comes with its current health in
    /// the store. `None` if the engine has ended, or does not reply within a second.
    pub async fn lane_views(&self, webhooks: Vec<(WebhookId, Health)>) -> Option<Vec<LaneView>> {
        figures::ask_for_person(&self.inbox, |reply| figures::Look::Lanes { webhooks, reply }).await
    }

    /// Whether this node is attempting a delivery, or has yet to record its outcome. False if the engine does not reply within
    /// a second.
    pub async fn is_under_way(&self, delivery: DeliveryId) -> bool {
        let look = |reply| figures::Look::UnderWay { delivery, reply };
        figures::ask_for_person(&self.inbox, look).await.unwrap_or(false)
    }

    /// Reports that a webhook was created, edited, resumed or deleted, so that its held deliveries continue at once. Without
    /// this call they continue a little later: the store checks every intake, and the engine reloads held lanes regularly.
    pub async fn webhook_changed(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::WebhookChanged { organization, webhook }).await;
    }

    /// Reports that a person wants pending deliveries of a webhook sent now. An attempt starts at once, even if the webhook's
    /// circuit breaker is open or its endpoint asked to wait. Concurrency limits, rate limits and holds still apply.
    pub async fn send_now(&self, organization: OrganizationId, webhook: WebhookId, which: SendNow) {
        self.tell(Input::SendNow { organization, webhook, which }).await;
    }

    /// Reports that a webhook was deleted, so that its pending deliveries are cancelled at once and not in a later sweep.
    pub async fn webhook_deleted(&self, organization: OrganizationId, webhook: WebhookId) {
        self.webhook_changed(organization, webhook).await;
        self.webhook_deleted.notify_one();
    }

    /// Reports that an edit of a webhook ended a suspension or a `Retry-After`, or reset its failure count. Its pending
    /// deliveries continue.
    pub async fn webhook_set_going(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::WebhookSetGoing { organization, webhook }).await;
    }

    /// Reports that one of a webhook's deliveries was cancelled. Without this call the engine notices a little later.
    pub async fn lane_changed(&self, organization: OrganizationId, webhook: WebhookId) {
        self.tell(Input::LaneChanged { organization, webhook }).await;
    }

    /// Reports that sending was held or resumed, so that it is read again at once. Without this call it is read a little later.
    pub async fn sending_changed(&self) {
        self.tell(Input::SendingChanged).await;
    }

    /// Reports that a recovery was created, so that it starts at once. Without this call it starts a little later.
    pub fn recovery_created(&self) {
        self.recovery_created.notify_one();
    }

    async fn tell(&self, input: Input) {
        // The engine has ended if nobody receives this.
        let _ = self.inbox.send(Message::Input(input)).await;
    }
}
