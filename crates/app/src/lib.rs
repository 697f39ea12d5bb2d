//! The control plane: what people and programs may ask for, one file a noun.
//!
//! A function here checks who asks, checks what they ask for, does it in one transaction of the store with its audit entry,
//! and says so in words of the model. REST, pages and the binary call the same functions.
//!
//! What it does not do: read or write JSON, or know of HTTP.

pub mod audit;
pub mod auth;
pub mod bootstrap;
pub mod breaker;
pub mod deliveries;
pub mod deployments;
mod error;
pub mod events;
mod fields;
pub mod instance;
pub mod intake;
mod limits;
pub mod organizations;
pub mod page;
pub mod recoveries;
pub mod statistics;
pub mod tokens;
pub mod users;
pub mod waiting;
pub mod webhooks;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use stackbell_engine::outbound::OutboundPolicy;
use stackbell_engine::shell::EngineHandle;
use stackbell_keys::Keyring;
use stackbell_model::{Clock, Entropy, Ordered, Timestamp};
use stackbell_store::backup::Backup;
use stackbell_store::{Store, StoreError};

pub use error::{Code, Error, FieldError, FieldProblem};
pub use limits::Limits;

use auth::Sessions;
use instance::backup::Copying;
use instance::master_key::MasterKeySource;

/// What the control plane is made of.
pub struct AppParts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// What accepts and sends.
    pub engine: EngineHandle,
    /// What seals and hashes.
    pub keyring: Arc<Keyring>,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Chance for ids, names, tokens and nonces.
    pub entropy: Box<dyn Entropy>,
    /// Where deliveries may go, to refuse literal addresses when a webhook is saved.
    pub outbound: Arc<OutboundPolicy>,
    /// The hosts that format `slack` may send to.
    pub slack_hosts: Vec<String>,
    /// How much one organization may have.
    pub limits: Limits,
    /// Where the master key comes from.
    pub master_keys: Arc<dyn MasterKeySource>,
    /// What makes copies of the store; `None` where the store does not.
    pub backup: Option<Arc<dyn Backup>>,
    /// The folder for copies: ours alone, and empty.
    pub scratch: PathBuf,
}

/// The control plane.
pub struct App {
    store: Arc<dyn Store>,
    engine: EngineHandle,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    entropy: Mutex<Ordered>,
    outbound: Arc<OutboundPolicy>,
    slack_hosts: Vec<String>,
    limits: Limits,
    master_keys: Arc<dyn MasterKeySource>,
    backup: Option<Arc<dyn Backup>>,
    scratch: PathBuf,
    copying: Copying,
    sessions: Sessions,
}

impl App {
    /// Puts it together.
    pub fn new(parts: AppParts) -> Self {
        let AppParts { store, engine, keyring, clock, entropy, outbound, slack_hosts, .. } = parts;
        let AppParts { limits, master_keys, backup, scratch, .. } = parts;
        Self {
            store,
            engine,
            keyring,
            clock,
            entropy: Mutex::new(Ordered::new(entropy)),
            outbound,
            slack_hosts,
            limits,
            master_keys,
            backup,
            scratch,
            copying: Copying::default(),
            sessions: Sessions::default(),
        }
    }

    /// The operator's limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many nodes are at work on the store, this one among them: what is limited for all of them together is shared out
    /// among so many.
    pub fn nodes(&self) -> usize {
        self.engine.nodes()
    }

    /// Whether requests can be served now: the store can be read and written.
    ///
    /// # Errors
    /// [`StoreError`], when it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Chance, for the length of `use_it`.
    fn chance<T>(&self, use_it: impl FnOnce(&mut dyn Entropy) -> T) -> T {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(&mut *entropy)
    }
}
