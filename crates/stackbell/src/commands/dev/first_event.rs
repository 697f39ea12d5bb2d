//! The receiver's webhook and the first event, through the public API.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use stackbell_client::{Client, ClientError, Payload};
use stackbell_model::filter::Group;
use stackbell_model::secret::WebhookSecret;
use ureq::http::{Method, StatusCode};

/// The name of the receiver's webhook.
pub(super) const WEBHOOK: &str = "dev-receiver";

/// The kind of the sample.
pub(super) const KIND: &str = "stack_update";

pub(super) struct FirstEvent {
    pub(super) client: Arc<Client>,
    pub(super) organization: String,
    pub(super) receiver: String,
    pub(super) secret: WebhookSecret,
}

impl FirstEvent {
    /// Creates the webhook, or updates the one of an earlier run, and publishes an event.
    pub(super) async fn publish(self) -> anyhow::Result<()> {
        // The client blocks.
        let published = tokio::task::spawn_blocking(move || {
            self.register().context("cannot register the receiver's webhook")?;
            let event = json!({ "kind": KIND, "payload": sample() });
            let path = ["v1", "orgs", &self.organization, "events"];
            let published = self.client.call(Method::POST, &path, Payload::Json(&event));
            published.context("cannot publish the first event")
        });
        published.await.context("publishing was interrupted")??;
        Ok(())
    }

    fn register(&self) -> Result<(), ClientError> {
        let webhook = json!({
            "organizationName": self.organization,
            "name": WEBHOOK,
            "displayName": "The receiver of stackbell dev",
            "payloadUrl": self.receiver,
            "secret": self.secret.expose(),
            "active": true,
            "format": "raw",
            "groups": Group::ALL.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
        });
        let path = ["api", "orgs", &self.organization, "hooks"];
        match self.client.call(Method::POST, &path, Payload::Json(&webhook)) {
            Err(ClientError::Refused { status: StatusCode::CONFLICT, .. }) => {
                let path = [&path[..], &[WEBHOOK]].concat();
                self.client.call(Method::PATCH, &path, Payload::Json(&webhook)).map(drop)
            }
            registered => registered.map(drop),
        }
    }
}

/// The payload of an update that succeeded. Source of the fields: wire-facts.md#raw-payloads.
pub(super) fn sample() -> Value {
    json!({
        "projectName": "website",
        "stackName": "prod",
        "kind": "update",
        "result": "succeeded",
        "resourceChanges": { "create": 3, "same": 28 },
        "isPreview": false,
    })
}
