use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use stackbell_app::bootstrap::bootstrap;
use stackbell_app::{App, AppParts};
use stackbell_engine::core::CoreConfig;
use stackbell_engine::outbound::{Allowance, DnsResolver, OutboundClient, OutboundPolicy, OutboundSettings};
use stackbell_engine::shell::{Engine, Metrics, Parts, Retention, Stopped};
use stackbell_http::{HttpSettings, Limits, Surface, TrustedProxies, router};
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::filter::Subscription;
use stackbell_model::health::Health;
use stackbell_model::ids::{AuditId, WebhookId};
use stackbell_model::names::{DisplayName, Login, OrganizationName, WebhookName};
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_model::{Clock, Entropy, Timestamp};
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::Identity;
use stackbell_store::nodes::Nodes;
use stackbell_store::webhooks::{CreateOutcome, Webhooks};
use stackbell_store_memory::MemoryStore;
use stackbell_system::SystemClock;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::TestResponse;
use super::fakes::Fake;

pub(crate) const ORGANIZATION: &str = "crazy-adventures";
/// The token of `morty`, admin of [`ORGANIZATION`] and operator.
pub(crate) const ADMIN: &str = "sb-the-bootstrap-token-of-thirty-two-characters";

struct Seeded(ChaCha20Rng);

impl Seeded {
    fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// A clock that advances by a millisecond with each reading, so that newer objects have higher ids.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// An instance with one organization and its admin.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    pub(crate) is_serving: Arc<AtomicBool>,
    pub(crate) has_folder: Arc<AtomicBool>,
    /// The requests in progress that may change something.
    pub(crate) changes: TaskTracker,
    /// The folder for backups.
    pub(crate) scratch: tempfile::TempDir,
    pub(super) base: Base,
    // Its drop ends all tasks.
    engine: Option<Engine>,
}

/// The parts that nodes share.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) store: MemoryStore,
    pub(super) keyring: Arc<Keyring>,
    clock: Arc<Ticking>,
    nodes: Arc<AtomicU64>,
    /// Randomness for objects that tests put into the store themselves.
    chance: Arc<Mutex<Seeded>>,
}

impl Base {
    async fn found(store: MemoryStore) -> Self {
        let mut entropy = Seeded::new(1);
        let clock = Arc::new(Ticking(AtomicI64::new(SystemClock.now().as_millis())));
        let master = MasterKey::generate(&mut entropy);
        let (keyring, _) = Keyring::generate(&master, &mut entropy, clock.now());
        let name = OrganizationName::parse(ORGANIZATION).expect("a name");
        let login = Login::parse("morty").expect("a login");
        let first = bootstrap(name, login, ADMIN, &keyring, clock.now(), &mut entropy);
        assert!(store.bootstrap(first).await.expect("the store works"));
        Self {
            store,
            keyring: Arc::new(keyring),
            clock,
            nodes: Arc::default(),
            chance: Arc::new(Mutex::new(Seeded::new(1000))),
        }
    }

    /// Makes an object for the store from randomness and the present time.
    pub(super) fn fresh<T>(&self, make: impl FnOnce(&mut dyn Entropy, Timestamp) -> T) -> T {
        let mut chance = self.chance.lock().expect("no test panics while it holds it");
        make(&mut *chance, self.clock.now())
    }

    /// The audit entry of a change that a test makes in the store.
    pub(super) fn entry(&self) -> AuditEntry {
        self.fresh(|entropy, at| AuditEntry {
            id: AuditId::generate(at, entropy),
            at,
            organization: None,
            actor: "test".into(),
            token: None,
            remote: None,
            action: "test.change",
            target: "".into(),
            fields: Vec::new(),
        })
    }

    /// Randomness that differs from that of other nodes.
    fn entropy(&self, of: u64) -> Seeded {
        Seeded::new(10 * self.nodes.load(Ordering::SeqCst) + of)
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::of_surface(Surface::Whole).await
    }

    pub(crate) async fn of_surface(surface: Surface) -> Self {
        Self::with(|settings| settings.surface = surface).await
    }

    /// An instance whose routes have other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut HttpSettings)) -> Self {
        Self::node(Base::found(MemoryStore::new()).await, change).await
    }

    /// One of several nodes. [`World::beside`] adds others.
    pub(crate) async fn first_of_several() -> Self {
        Self::node(Base::found(MemoryStore::shared()).await, |_| ()).await
    }

    /// Another node on the same store.
    pub(crate) async fn beside(&self) -> Self {
        Self::node(self.base.clone(), |_| ()).await
    }

    async fn node(base: Base, change: impl FnOnce(&mut HttpSettings)) -> Self {
        base.nodes.fetch_add(1, Ordering::SeqCst);
        let policy = OutboundPolicy::new(Allowance::loopback());
        let resolver = Arc::new(DnsResolver::default());
        let settings = OutboundSettings::default();
        let outbound = OutboundClient::new(&settings, &policy, resolver, Arc::new(SystemClock)).await;
        let metrics = Arc::new(Metrics::default());
        let config = CoreConfig::default();
        let engine = Engine::start(Parts {
            store: Arc::new(base.store.clone()),
            keyring: Arc::clone(&base.keyring),
            outbound: outbound.expect("certificates"),
            clock: Arc::new(SystemClock),
            entropy: Box::new(base.entropy(2)),
            config: if base.store.is_shared() { config.shared() } else { config },
            retention: Retention::default(),
            public_url: None,
            metrics: Arc::clone(&metrics),
        });
        let scratch = tempfile::tempdir().expect("a folder");
        let app = Arc::new(App::new(AppParts {
            store: Arc::new(base.store.clone()),
            engine: engine.handle(),
            keyring: Arc::clone(&base.keyring),
            clock: Arc::<Ticking>::clone(&base.clock),
            entropy: Box::new(base.entropy(3)),
            outbound: Arc::new(policy),
            slack_hosts: vec!["hooks.slack.com".to_owned()],
            limits: stackbell_app::Limits::default(),
            master_keys: Arc::new(Fake),
            backup: Some(Arc::new(Fake)),
            scratch: scratch.path().to_owned(),
        }));
        let is_serving = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_serving);
        let has_folder = Arc::new(AtomicBool::new(true));
        let folder = Arc::clone(&has_folder);
        let changes = TaskTracker::new();
        let mut settings = HttpSettings {
            limits: Limits::default(),
            changes: changes.clone(),
            surface: Surface::Whole,
            trusted_proxies: TrustedProxies::default(),
            requests_per_second: None,
            readiness: Arc::new(move || asked.load(Ordering::SeqCst)),
            data_folder: Arc::new(move || folder.load(Ordering::SeqCst)),
            metrics: Arc::new(move || metrics.encode()),
            requests: Arc::new(stackbell_http::request_metrics()),
            entropy: Arc::new(Mutex::new(base.entropy(4))),
        };
        change(&mut settings);
        Self {
            router: router(Arc::clone(&app), settings),
            app,
            is_serving,
            has_folder,
            changes,
            scratch,
            base,
            engine: Some(engine),
        }
    }

    /// Ends the engine. Requests that need it are refused from now on.
    pub(crate) async fn stop_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            assert_eq!(engine.stop(Duration::from_secs(10)).await, Stopped::Clean);
        }
    }

    /// Waits until this node sees this number of nodes.
    pub(crate) async fn sees(&self, nodes: usize) {
        let wanted = format!("stackbell_nodes {nodes}\n");
        let look = async {
            let ask = || self.ask("", "GET", "/metrics", Value::Null);
            while !ask().await.text().contains(&wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.expect("it sees them soon");
    }

    /// A webhook of the organization that was saved under other settings.
    pub(crate) async fn save_unchecked(&self, name: &str, url: &str, format: Format) {
        self.save_webhook(name, url, |webhook| webhook.format = format).await;
    }

    /// Saves a webhook of the organization that no request could make.
    pub(crate) async fn save_webhook(
        &self,
        name: &str,
        url: &str,
        change: impl FnOnce(&mut Webhook),
    ) -> WebhookId {
        let at = SystemClock.now();
        let organization = OrganizationName::parse(ORGANIZATION).expect("a name");
        let found = self.base.store.find_organization(&organization).await.expect("the store works");
        let mut entropy = Seeded::new(u64::from(url.as_bytes()[7]));
        let mut webhook = Webhook {
            id: WebhookId::generate(at, &mut entropy),
            organization: found.expect("it is there").id,
            scope: Scope::Organization,
            name: WebhookName::parse(name).expect("a name"),
            display_name: DisplayName::parse(name).expect("a name"),
            payload_url: PayloadUrl::from_stored(url),
            active: true,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: None,
            pause_reason: None,
            created_at: at,
            revision: 1,
            health: Health::default(),
        };
        change(&mut webhook);
        let created = self.base.store.create_webhook(&webhook, 10, self.base.entry()).await;
        assert_eq!(created.expect("the store works"), CreateOutcome::Done);
        webhook.id
    }

    /// Sends a request unchanged.
    pub(crate) async fn send(&self, request: Request<Body>) -> TestResponse {
        let response = self.router.clone().oneshot(request).await.expect("it cannot fail");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body");
        TestResponse { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with a token and, unless it is null, a JSON body.
    pub(crate) async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> TestResponse {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request(token, method, path).body(body).expect("a request")).await
    }

    /// Sends a request as the admin.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> TestResponse {
        self.ask(ADMIN, method, path, body).await
    }

    /// A new user with this role in the organization, or without a membership. Returns a token with all rights of the user.
    pub(crate) async fn user(&self, login: &str, role: Option<&str>) -> String {
        let user =
            self.admin("POST", "/v1/users", json!({"login": login, "role": "admin"})).await.expect(201);
        if let Some(role) = role {
            let path = format!("/v1/orgs/{ORGANIZATION}/members/{login}");
            self.admin("PUT", &path, json!({"role": role})).await.expect(200);
        }
        user["token"].as_str().expect("a token").to_owned()
    }
}

/// A request as in the curl examples.
pub(crate) fn request(token: &str, method: &str, path: &str) -> axum::http::request::Builder {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    Request::builder()
        .method(method)
        .uri(path)
        .header("Accept", "application/vnd.pulumi+8")
        .header("Content-Type", "application/json")
        .header("Authorization", format!("token {token}"))
}
