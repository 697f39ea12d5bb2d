//! The control plane: what people and programs may ask for, one file a noun.
//!
//! A function here checks who asks, checks what they ask for, does it in one transaction of the store with its audit entry,
//! and says so in words of the model. REST, pages and the binary call the same functions.
//!
//! What it does not do: read or write JSON, or know of HTTP.

pub mod audit;
pub mod auth;
pub mod beginnings;
pub mod deliveries;
mod error;
pub mod events;
mod fields;
pub mod organizations;
pub mod page;
pub mod tokens;
pub mod users;
pub mod webhooks;

use std::sync::{Arc, Mutex, PoisonError};

use stackbell_engine::outbound::OutboundPolicy;
use stackbell_engine::shell::EngineHandle;
use stackbell_keys::Keyring;
use stackbell_model::{Clock, Entropy, Ordered, Timestamp};
use stackbell_store::{Store, StoreError};

pub use error::{Code, Error, FieldError, FieldProblem};

use auth::Sessions;

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
    sessions: Sessions,
}

impl App {
    /// Puts it together.
    pub fn new(parts: AppParts) -> Self {
        let AppParts { store, engine, keyring, clock, entropy, outbound, slack_hosts } = parts;
        let (entropy, sessions) = (Mutex::new(Ordered::new(entropy)), Sessions::default());
        Self { store, engine, keyring, clock, entropy, outbound, slack_hosts, sessions }
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
