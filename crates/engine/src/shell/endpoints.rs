//! A cache of endpoints: target and signing keys are prepared once for a webhook, and not for each of its deliveries.

use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use stackbell_keys::{Keyring, OpenError};
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::OrganizationName;
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::Webhook;
use stackbell_store::{EngineStore, StoreError};
use stackbell_wire::signature::{SigningKey, SigningKeys};

use crate::outbound::{Target, TargetError};

/// The most endpoints that are cached; the least recently used one is evicted first.
const ENDPOINTS_MAX: u64 = 10_000;

/// The most names of organizations that are cached.
const NAMES_MAX: u64 = 10_000;

/// The prepared data of a webhook.
pub(super) struct Endpoint {
    revision: u64,
    pub(super) organization: OrganizationName,
    /// The target of its payload URL; `None` if the payload URL names a stack.
    pub(super) target: Option<Arc<Target>>,
    pub(super) keys: Option<SigningKeys>,
}

/// The reason why nothing can be sent to an endpoint. The fault is ours, never the endpoint's.
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

/// Prepared endpoints of webhooks.
pub(super) struct Endpoints {
    store: Arc<dyn EngineStore>,
    keyring: Arc<Keyring>,
    endpoints: Cache<WebhookId, Arc<Endpoint>>,
    /// Names never change.
    names: Cache<OrganizationId, OrganizationName>,
}

impl Endpoints {
    pub(super) fn new(store: Arc<dyn EngineStore>, keyring: Arc<Keyring>) -> Self {
        let lru = EvictionPolicy::lru;
        let endpoints = Cache::builder().max_capacity(ENDPOINTS_MAX).eviction_policy(lru()).build();
        let names = Cache::builder().max_capacity(NAMES_MAX).eviction_policy(lru()).build();
        Self { store, keyring, endpoints, names }
    }

    /// Returns the endpoint for this revision of a webhook.
    pub(super) async fn prepare(&self, webhook: &Webhook) -> Result<Arc<Endpoint>, EndpointError> {
        let cached = self.endpoints.get(&webhook.id);
        if let Some(endpoint) = cached.filter(|endpoint| endpoint.revision == webhook.revision) {
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
        self.endpoints.insert(webhook.id, Arc::clone(&endpoint));
        Ok(endpoint)
    }

    async fn organization(&self, id: OrganizationId) -> Result<OrganizationName, EndpointError> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name);
        }
        let name = self.store.organization_name(id).await?.ok_or(EndpointError::NoOrganization)?;
        self.names.insert(id, name.clone());
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
