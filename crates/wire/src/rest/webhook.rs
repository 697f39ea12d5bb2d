//! The webhook in Pulumi's API. Source: wire-facts.md#webhook-object.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use stackbell_model::filter::Group;
use stackbell_model::names::OrganizationName;
use stackbell_model::scope::ScopeNames;
use stackbell_model::secret::{SecretChange, SentSecret};
use stackbell_model::webhook::Webhook;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::body::{Body, BodyError};
use stackbell_model::field::FieldError;

/// The `secret` that removes the stored secret. Source: wire-facts.md#secret.
const REMOVE_SECRET: &str = "__remove-secret";

/// A webhook as clients send it to create or change one. Only types are checked here: the operation decides
/// which fields
/// are required, and what an absent field means.
#[derive(Default, PartialEq, ToSchema)]
#[schema(as = Webhook, rename_all = "camelCase")]
pub struct WebhookRequest {
    /// Owning organization.
    #[schema(value_type = String)]
    pub organization_name: Option<String>,
    /// Project; set for stack and environment webhooks.
    #[schema(value_type = String, required = false)]
    pub project_name: Option<String>,
    /// Stack; set for stack webhooks.
    #[schema(value_type = String, required = false)]
    pub stack_name: Option<String>,
    /// Environment; set for environment webhooks.
    #[schema(value_type = String, required = false)]
    pub env_name: Option<String>,
    /// Identifier, unique in its scope; generated when empty on create.
    #[schema(value_type = String, required = false)]
    pub name: Option<String>,
    /// Label.
    #[schema(value_type = String)]
    pub display_name: Option<String>,
    /// Destination.
    #[schema(value_type = String)]
    pub payload_url: Option<String>,
    /// HMAC key; write-only.
    #[schema(value_type = String, required = false)]
    pub secret: SecretChange,
    /// Deliver events or not.
    #[schema(value_type = bool)]
    pub active: Option<bool>,
    /// raw | slack | ms_teams | pulumi_deployments.
    #[schema(value_type = String, required = false)]
    pub format: Option<String>,
    /// Single event types.
    #[schema(value_type = Vec<String>, required = false)]
    pub filters: Option<Vec<String>>,
    /// Event groups.
    #[schema(value_type = Vec<String>, required = false)]
    pub groups: Option<Vec<String>>,
}

impl WebhookRequest {
    /// Reads a request's body. Null counts as absent, and unknown fields are ignored, because clients send
    /// back the responses that they got.
    ///
    /// # Errors
    /// [`BodyError`], naming the field of the wrong type or the duplicate key.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        Ok(Self {
            organization_name: body.text("organizationName")?,
            project_name: body.text("projectName")?,
            stack_name: body.text("stackName")?,
            env_name: body.text("envName")?,
            name: body.text("name")?,
            display_name: body.text("displayName")?,
            payload_url: body.text("payloadUrl")?,
            secret: read_secret(&body)?,
            active: body.truth("active")?,
            format: body.text("format")?,
            filters: body.texts("filters")?,
            groups: body.texts("groups")?,
        })
    }
}

/// Hides the secret and the URL.
impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WebhookRequest");
        shown.field("organization_name", &self.organization_name).field("name", &self.name);
        shown.field("display_name", &self.display_name).field("active", &self.active);
        shown.field("format", &self.format).field("filters", &self.filters).field("groups", &self.groups);
        shown.finish_non_exhaustive()
    }
}

fn read_secret(body: &Body) -> Result<SecretChange, FieldError> {
    let text = zeroize::Zeroizing::new(body.text("secret")?.unwrap_or_default());
    Ok(match text.as_str() {
        "" => SecretChange::Keep,
        REMOVE_SECRET => SecretChange::Remove,
        secret => SecretChange::Set(SentSecret::new(secret)),
    })
}

/// A webhook as clients get it. It never contains `secret`, not even as null: the provider would store the
/// null.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookResponse {
    organization_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_name: Option<String>,
    name: String,
    display_name: String,
    payload_url: String,
    active: bool,
    format: &'static str,
    filters: Vec<&'static str>,
    groups: Vec<&'static str>,
    has_secret: bool,
    secret_ciphertext: String,
}

impl WebhookResponse {
    /// Converts `webhook`, of the organization with this name. `sees_credentials` is whether the caller may
    /// see the full payload URL.
    pub fn new(webhook: &Webhook, organization: &OrganizationName, sees_credentials: bool) -> Self {
        let ScopeNames { project, stack, environment } = webhook.scope.names();
        let url = &webhook.payload_url;
        let fingerprint = webhook.secret.as_ref().map(|secret| secret.fingerprint);
        Self {
            organization_name: organization.to_string(),
            project_name: project.map(str::to_owned),
            stack_name: stack.map(str::to_owned),
            env_name: environment.map(str::to_owned),
            name: webhook.name.to_string(),
            display_name: webhook.display_name.to_string(),
            payload_url: if sees_credentials { url.expose().to_owned() } else { url.redacted() },
            active: webhook.active,
            format: webhook.format.as_str(),
            filters: webhook.subscription.filters().iter().map(|filter| filter.as_str()).collect(),
            groups: webhook.subscription.groups().map(Group::as_str).collect(),
            has_secret: fingerprint.is_some(),
            secret_ciphertext: fingerprint.map(hex::encode).unwrap_or_default(),
        }
    }
}

/// Hides the URL.
impl fmt::Debug for WebhookResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WebhookResponse");
        shown
            .field("organization_name", &self.organization_name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All fields of `Webhook` and two more, as in Pulumi's OpenAPI document.
impl PartialSchema for WebhookResponse {
    fn schema() -> RefOr<Schema> {
        let field = |kind, description| ObjectBuilder::new().schema_type(kind).description(Some(description));
        let own = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("hasSecret", field(Type::Boolean, "A secret is stored."))
            .required("hasSecret")
            .property(
                "secretCiphertext",
                field(Type::String, "Stable digest of the stored secret; empty when none."),
            )
            .required("secretCiphertext");
        let webhook = Ref::from_schema_name(WebhookRequest::name());
        AllOfBuilder::new().item(webhook).item(own).into()
    }
}

impl ToSchema for WebhookResponse {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("WebhookResponse")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((WebhookRequest::name().into_owned(), WebhookRequest::schema()));
        WebhookRequest::schemas(schemas);
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
