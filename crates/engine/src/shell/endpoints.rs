//! A cache of the data that all deliveries of a webhook share: its target and its signing keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stackbell_keys::{Keyring, OpenError};
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::OrganizationName;
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::Webhook;
use stackbell_store::{EngineStore, StoreError};
use stackbell_wire::signature::{SigningKey, SigningKeys};

use crate::outbound::{Target, TargetError};

/// The size of the cache. A full cache is cleared, and entries are rebuilt when they are needed.
const ENDPOINTS_MAX: usize = 10_000;

/// The prepared data of a webhook.
pub(super) struct Endpoint {
    revision: u64,
    pub(super) organization: OrganizationName,
    /// The target of its payload URL; `None` if the payload URL names a stack.
    pub(super) target: Option<Arc<Target>>,
    pub(super) keys: Option<SigningKeys>,
}

/// Why an endpoint could not be prepared. The cause is always on our side, never at the endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("the webhook's organization could not be read")]
    Store(#[from] StoreError),
    #[error("the webhook's organization is gone")]
    NoOrganization,
    #[error("the webhook's secret could not be opened")]
    Secret(#[from] OpenError),
    #[error("nothing can be sent to the payload URL")]
    Target(#[from] TargetError),
}

pub(super) struct Endpoints {
    store: Arc<dyn EngineStore>,
    keyring: Arc<Keyring>,
    ready: Mutex<HashMap<WebhookId, Arc<Endpoint>>>,
    /// Organization names never change, so entries stay valid.
    names: Mutex<HashMap<OrganizationId, OrganizationName>>,
}

impl Endpoints {
    pub(super) fn new(store: Arc<dyn EngineStore>, keyring: Arc<Keyring>) -> Self {
        Self { store, keyring, ready: Mutex::default(), names: Mutex::default() }
    }

    /// Returns the endpoint for this revision of a webhook.
    pub(super) async fn prepare(&self, webhook: &Webhook) -> Result<Arc<Endpoint>, EndpointError> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(&webhook.id).cloned();
        if let Some(endpoint) = ready.filter(|endpoint| endpoint.revision == webhook.revision) {
            return Ok(endpoint);
        }
        let organization = self.organization(webhook.organization).await?;
        let url = webhook.payload_url.to_url();
        let endpoint = Arc::new(Endpoint {
            revision: webhook.revision,
            organization,
            target: url.map(|url| Target::new(&url)).transpose()?.map(Arc::new),
            keys: self.signing_keys(webhook)?,
        });
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= ENDPOINTS_MAX {
            ready.clear();
        }
        ready.insert(webhook.id, Arc::clone(&endpoint));
        Ok(endpoint)
    }

    async fn organization(&self, id: OrganizationId) -> Result<OrganizationName, EndpointError> {
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(name) = known {
            return Ok(name);
        }
        let name = self.store.organization_name(id).await?.ok_or(EndpointError::NoOrganization)?;
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(id, name.clone());
        Ok(name)
    }

    fn signing_keys(&self, webhook: &Webhook) -> Result<Option<SigningKeys>, OpenError> {
        let Some(secret) = &webhook.secret else { return Ok(None) };
        let key = |sealed: &Sealed| {
            self.keyring.open_secret(webhook.id, sealed).map(|secret| SigningKey::new(&secret))
        };
        let previous = match &secret.previous {
            Some((sealed, until)) => Some((key(sealed)?, *until)),
            None => None,
        };
        Ok(Some(SigningKeys { current: key(&secret.sealed)?, previous }))
    }
}
