//! The control plane: the operations of users and programs, one file a noun.
//!
//! A function here checks the caller's rights and the request, makes the change and its audit entry in one transaction of the
//! store, and returns types of the model. All surfaces and the binary call the same functions.
//!
//! The crate neither reads nor writes JSON, and it does not know HTTP.

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

/// The parts of the control plane.
pub struct AppParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The engine, which accepts events and sends deliveries.
    pub engine: EngineHandle,
    /// The keys that seal secrets and hash tokens.
    pub keyring: Arc<Keyring>,
    /// The clock of the process.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids, names, tokens and nonces.
    pub entropy: Box<dyn Entropy>,
    /// The outbound policy. It refuses literal addresses when a webhook is saved.
    pub outbound: Arc<OutboundPolicy>,
    /// The hosts to which format `slack` may send.
    pub slack_hosts: Vec<String>,
    /// Limits of one organization.
    pub limits: Limits,
    /// The source of the master key.
    pub master_keys: Arc<dyn MasterKeySource>,
    /// The backup of the store; `None` if the store makes none.
    pub backup: Option<Arc<dyn Backup>>,
    /// The folder for copies: empty, and used by nothing else.
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
    /// Assembles the control plane.
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

    /// The number of nodes that use the store, including this one. Each node allows its part of a limit that holds for all
    /// nodes together.
    pub fn nodes(&self) -> usize {
        self.engine.nodes()
    }

    /// Checks that requests can be served now: the store can be read and written.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs `use_it` with the generator of randomness, which is locked meanwhile.
    fn chance<T>(&self, use_it: impl FnOnce(&mut dyn Entropy) -> T) -> T {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(&mut *entropy)
    }
}
