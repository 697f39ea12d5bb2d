//! An organization with its webhooks, an engine, and an endpoint.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stackbell_engine::core::{Authority, CoreConfig, PublishRefusal};
use stackbell_engine::outbound::{DnsResolver, OutboundClient, OutboundPolicy, OutboundSettings};
use stackbell_engine::shell::{Engine, EngineHandle, Metrics, Parts, Retention, Stopped};
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::delivery::{Attempt, Delivery, State};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet, Subscription};
use stackbell_model::identity::Organization;
use stackbell_model::ids::{AuditId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_model::names::{DisplayName, OrganizationName, ProjectName, StackName, WebhookName};
use stackbell_model::scope::{Scope, Subject};
use stackbell_model::secret::WebhookSecret;
use stackbell_model::webhook::{Format, PayloadUrl, StoredSecret, Webhook};
use stackbell_model::{Clock as _, Entropy as _, Timestamp};
use stackbell_store::Store;
use stackbell_store::audit::AuditEntry;
use stackbell_store::commit::Receipt;
use stackbell_store::history::StoredDelivery;
use stackbell_store::webhooks::EditOutcome;
use stackbell_store_sqlite::SqliteStore;
use stackbell_testkit::{ManualClock, Receiver, SeededEntropy, wait};
use tempfile::TempDir;

/// The time at which tests start, unless they say otherwise.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_778_653_205_000);

/// The payload of events, unless a test says otherwise.
pub(crate) const PAYLOAD: &str =
    r#"{"projectName":"web","stackName":"prod","kind":"update","result":"succeeded"}"#;

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) receiver: Receiver,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) entropy: SeededEntropy,
    pub(crate) organization: OrganizationId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    config: CoreConfig,
    outbound: OutboundSettings,
    engine: Engine,
    folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(BEGIN, CoreConfig::default()).await
    }

    pub(crate) async fn start_with(now: Timestamp, config: CoreConfig) -> Self {
        Self::start_on(now, config, |store| store).await
    }

    /// Starts with a wrapper between the engine and its store.
    pub(crate) async fn start_on(
        now: Timestamp,
        config: CoreConfig,
        between: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        Self::start_calling(now, config, OutboundSettings::default(), between).await
    }

    /// Starts with other settings of the client.
    pub(crate) async fn start_calling(
        now: Timestamp,
        config: CoreConfig,
        outbound: OutboundSettings,
        between: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut entropy = SeededEntropy::new(1);
        let master = MasterKey::generate(&mut entropy);
        let keyring = Arc::new(Keyring::generate(&master, &mut entropy, now).0);
        let store = between(open(folder.path()));
        let metrics = Arc::new(Metrics::default());
        let clock = Arc::new(ManualClock::at(now));
        let organization = Organization {
            id: OrganizationId::generate(now, &mut entropy),
            name: OrganizationName::parse("acme").expect("a name"),
            display_name: DisplayName::parse("Acme").expect("a name"),
            avatar_url: String::new(),
            created_at: now,
        };
        let audit = audit(now, &mut entropy);
        store.create_organization(&organization, None, audit).await.expect("a store");
        let engine =
            start_engine(&store, &keyring, &clock, (&config, &outbound), entropy.next_u64(), &metrics).await;
        let receiver = Receiver::start().await;
        Self {
            clock,
            receiver,
            keyring,
            entropy,
            config,
            outbound,
            organization: organization.id,
            engine,
            store,
            folder,
            metrics,
        }
    }

    /// Stops the engine within `limit`, and starts it again on the same file.
    pub(crate) async fn restart(self, limit: Duration) -> Self {
        let Self {
            clock,
            receiver,
            keyring,
            mut entropy,
            config,
            outbound,
            organization,
            engine,
            store,
            folder,
            ..
        } = self;
        let metrics = Arc::new(Metrics::default());
        assert_eq!(engine.stop(limit).await, Stopped::Clean);
        drop(store);
        let store = open(folder.path());
        let engine =
            start_engine(&store, &keyring, &clock, (&config, &outbound), entropy.next_u64(), &metrics).await;
        Self {
            clock,
            receiver,
            keyring,
            entropy,
            config,
            outbound,
            organization,
            engine,
            store,
            folder,
            metrics,
        }
    }

    pub(crate) fn handle(&self) -> EngineHandle {
        self.engine.handle()
    }

    /// Registers a webhook for all events at the receiver's path `/{name}`.
    pub(crate) async fn webhook(&mut self, name: &str, change: impl FnOnce(&mut Webhook)) -> Webhook {
        let now = self.clock.now();
        let url = self.receiver.url(&format!("/{name}"));
        let mut webhook = Webhook {
            id: WebhookId::generate(now, &mut self.entropy),
            organization: self.organization,
            scope: Scope::Organization,
            name: WebhookName::parse(name).expect("a name"),
            display_name: DisplayName::parse(name).expect("a name"),
            payload_url: PayloadUrl::parse(&url, Format::Raw, &[]).expect("a URL"),
            active: true,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: None,
            pause_reason: None,
            created_at: now,
            revision: 1,
            health: Default::default(),
        };
        change(&mut webhook);
        let audit = self.audit();
        self.store.create_webhook(&webhook, 1000, audit).await.expect("a store");
        self.handle().webhook_changed(self.organization, webhook.id).await;
        webhook
    }

    /// Registers a webhook with a secret.
    pub(crate) async fn signed_webhook(&mut self, name: &str, secret: &str) -> Webhook {
        let (keyring, mut entropy) = (Arc::clone(&self.keyring), SeededEntropy::new(2));
        self.webhook(name, |webhook| {
            let secret = WebhookSecret::new(secret).expect("short enough");
            let fingerprint = keyring.fingerprint(webhook.id, &secret);
            let sealed = keyring.seal_secret(webhook.id, &secret, &mut entropy);
            webhook.secret = Some(StoredSecret { sealed, fingerprint, previous: None });
        })
        .await
    }

    /// Edits the stored webhook.
    pub(crate) async fn edit(&mut self, webhook: &Webhook, change: impl FnOnce(&mut Webhook)) {
        let mut now = self.stored(webhook).await;
        change(&mut now);
        let audit = self.audit();
        assert_eq!(self.store.edit_webhook(&now, audit).await.expect("a store"), EditOutcome::Done);
        self.handle().webhook_changed(self.organization, webhook.id).await;
    }

    pub(crate) async fn delete(&mut self, webhook: &Webhook) {
        let audit = self.audit();
        let deleted =
            self.store.delete_webhook(self.organization, &webhook.scope, &webhook.name, audit).await;
        assert_eq!(deleted.expect("a store"), Some(webhook.id));
        self.handle().webhook_deleted(self.organization, webhook.id).await;
    }

    /// The current webhook in the store.
    pub(crate) async fn stored(&self, webhook: &Webhook) -> Webhook {
        let found = self.store.find_webhook(self.organization, &webhook.scope, &webhook.name).await;
        found.expect("a store").expect("a webhook")
    }

    /// Publishes an event, and returns its id and the number of its deliveries.
    pub(crate) async fn publish(&mut self) -> (EventId, u32) {
        let receipts = self.try_publish().await.expect("accepted");
        (receipts[0].id, receipts[0].deliveries)
    }

    /// Publishes an event that may be refused.
    pub(crate) async fn try_publish(&mut self) -> Result<Vec<Receipt>, PublishRefusal> {
        let event = new_event(self.organization, self.clock.now(), &mut self.entropy);
        self.handle().publish(self.organization, Authority::Own, None, vec![event]).await
    }

    pub(crate) async fn delivery(&self, webhook: &Webhook, event: EventId) -> StoredDelivery {
        let found = self.store.find_delivery(webhook.id, event).await;
        found.expect("a store").expect("a delivery")
    }

    /// Waits until a delivery meets `is_met`.
    pub(crate) async fn delivery_when(
        &self,
        what: &str,
        webhook: &Webhook,
        event: EventId,
        is_met: impl Fn(&Delivery) -> bool,
    ) -> Delivery {
        let look =
            || async { Some(self.delivery(webhook, event).await.delivery).filter(|found| is_met(found)) };
        wait::until(what, look).await
    }

    /// Waits until this many attempts of a delivery count as spent, and returns when the next is due.
    pub(crate) async fn due_after(&self, webhook: &Webhook, event: EventId, spent: u32) -> Timestamp {
        let is_spent = |delivery: &Delivery| delivery.attempts_spent == spent;
        let delivery = self.delivery_when("a recorded attempt", webhook, event, is_spent).await;
        match delivery.state {
            State::Pending { due_at } => due_at,
            state => panic!("not pending: {state:?}"),
        }
    }

    pub(crate) async fn succeeded(&self, webhook: &Webhook, event: EventId) -> Delivery {
        let is_done = |delivery: &Delivery| matches!(delivery.state, State::Succeeded { .. });
        self.delivery_when("success", webhook, event, is_done).await
    }

    /// The attempts of a webhook, newest first.
    pub(crate) async fn attempts(&self, webhook: &Webhook) -> Vec<Attempt> {
        let attempts = self.store.list_attempts(webhook.id, 100, u64::MAX).await.expect("a store");
        attempts.into_iter().map(|stored| stored.attempt).collect()
    }

    /// Advances the clock by `step` until this many requests have arrived.
    pub(crate) async fn drive_until(&self, count: usize, step: Duration) {
        let look = || async {
            let is_there = self.receiver.count() >= count;
            if !is_there {
                self.clock.advance(step);
            }
            is_there.then_some(())
        };
        wait::until("a request under a moving clock", look).await;
    }

    pub(crate) fn audit(&mut self) -> AuditEntry {
        audit(self.clock.now(), &mut self.entropy)
    }
}

pub(crate) fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("stackbell.db")).expect("a store"))
}

pub(crate) async fn start_engine(
    store: &Arc<dyn Store>,
    keyring: &Arc<Keyring>,
    clock: &Arc<ManualClock>,
    (config, settings): (&CoreConfig, &OutboundSettings),
    seed: u64,
    metrics: &Arc<Metrics>,
) -> Engine {
    let policy = OutboundPolicy::new(["127.0.0.0/8".parse().expect("an allowance")]);
    let resolver = Arc::new(DnsResolver::default());
    let outbound = OutboundClient::new(settings, &policy, resolver, Arc::<ManualClock>::clone(clock)).await;
    Engine::start(Parts {
        store: Arc::<dyn Store>::clone(store),
        keyring: Arc::clone(keyring),
        outbound: outbound.expect("a client"),
        clock: Arc::<ManualClock>::clone(clock),
        entropy: Box::new(SeededEntropy::new(seed)),
        config: config.clone(),
        public_url: None,
        retention: Retention::default(),
        metrics: Arc::clone(metrics),
    })
}

pub(crate) fn audit(now: Timestamp, entropy: &mut SeededEntropy) -> AuditEntry {
    AuditEntry {
        id: AuditId::generate(now, entropy),
        at: now,
        organization: None,
        actor: "analyst".into(),
        token: None,
        remote: None,
        action: "test",
        target: "test".into(),
        fields: Vec::new(),
    }
}

/// An event that is not published yet.
pub(crate) fn new_event(organization: OrganizationId, now: Timestamp, entropy: &mut SeededEntropy) -> Event {
    Event {
        key: EventKey::generate(now, entropy),
        id: EventId::generate(entropy),
        organization,
        kind: EventKind::StackUpdate,
        filters: FilterSet::EMPTY.with(Filter::UpdateSucceeded),
        subject: Subject::Stack {
            project: ProjectName::parse("web").expect("a name"),
            stack: StackName::parse("prod").expect("a name"),
        },
        payload: Bytes::from_static(PAYLOAD.as_bytes()),
        digest: None,
        accepted_at: now,
        source: Source::Api,
        token: None,
    }
}
