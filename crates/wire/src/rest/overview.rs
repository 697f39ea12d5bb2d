//! Webhooks as our own API shows them: all of an organization at a glance.

use serde::Serialize;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;
use utoipa::ToSchema;

use super::body::{Body, BodyError};
use super::rfc3339;

/// A webhook of any scope, and how it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOverview {
    /// Its id, for life.
    pub id: String,
    /// Where it is registered: `organization`, `stack` or `environment`.
    pub scope: &'static str,
    /// The project of its stack or environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub project_name: Option<String>,
    /// Its stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub stack_name: Option<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub environment_name: Option<String>,
    /// Its identifier, unique in its scope.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// Whether new events are matched.
    pub active: bool,
    /// `raw`, `slack`, `ms_teams` or `pulumi_deployments`.
    pub format: &'static str,
    /// `active`, `inactive` (somebody switched it off) or `suspended` (its endpoint fails).
    pub state: &'static str,
    /// Why and since when it is suspended; only then, also while it is inactive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = WebhookSuspension, required = false)]
    pub suspension: Option<WebhookSuspension>,
    /// Whether signed deliveries also carry the headers of Standard Webhooks.
    pub standard_headers: bool,
}

/// Why a webhook's deliveries are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebhookSuspension {
    /// `gone`: the endpoint answered 410. `failing`: it failed for days.
    pub reason: &'static str,
    /// Since when: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub since: String,
}

impl From<&Webhook> for WebhookOverview {
    fn from(webhook: &Webhook) -> Self {
        let (project, stack, environment) = match &webhook.scope {
            Scope::Organization => (None, None, None),
            Scope::Stack { project, stack } => (Some(project), Some(stack), None),
            Scope::Environment { project, environment } => (Some(project), None, Some(environment)),
        };
        let suspension = webhook.health.suspension.map(|suspension| WebhookSuspension {
            reason: suspension.reason.as_str(),
            since: rfc3339(suspension.since),
        });
        let state = match (webhook.active, &suspension) {
            (false, _) => "inactive",
            (true, Some(_)) => "suspended",
            (true, None) => "active",
        };
        Self {
            id: webhook.id.to_string(),
            scope: webhook.scope.kind().as_str(),
            project_name: project.map(ToString::to_string),
            stack_name: stack.map(ToString::to_string),
            environment_name: environment.map(ToString::to_string),
            name: webhook.name.to_string(),
            display_name: webhook.display_name.to_string(),
            active: webhook.active,
            format: webhook.format.as_str(),
            state,
            suspension,
            standard_headers: webhook.standard_headers,
        }
    }
}

/// What our own API changes of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct WebhookOptions {
    /// Whether signed deliveries also carry the headers of Standard Webhooks; stays as it is if absent.
    #[schema(value_type = bool, required = false)]
    pub standard_headers: Option<bool>,
}

impl WebhookOptions {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["standardHeaders"])?;
        Ok(Self { standard_headers: body.truth("standardHeaders")? })
    }
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;
    use stackbell_model::filter::Subscription;
    use stackbell_model::health::{Health, Suspension, SuspensionReason};
    use stackbell_model::ids::{OrganizationId, WebhookId};
    use stackbell_model::names::{DisplayName, ProjectName, StackName, WebhookName};
    use stackbell_model::webhook::{Format, PayloadUrl};
    use uuid::Uuid;

    use super::*;

    fn webhook() -> Webhook {
        Webhook {
            id: WebhookId::from_uuid(Uuid::nil()),
            organization: OrganizationId::from_uuid(Uuid::nil()),
            scope: Scope::Organization,
            name: WebhookName::parse("n").expect("valid"),
            display_name: DisplayName::parse("d").expect("valid"),
            payload_url: PayloadUrl::from_stored("https://a.example/secret"),
            active: true,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            created_at: Timestamp::from_millis(0),
            revision: 1,
            health: Health::default(),
        }
    }

    fn check(webhook: &Webhook, scope: &str, state: &str) {
        let active = webhook.active;
        let expected = format!(
            r#"{{"id":"00000000-0000-0000-0000-000000000000","scope":{scope},"name":"n","displayName":"d","active":{active},"format":"raw","state":{state},"standardHeaders":true}}"#
        );
        let shown = serde_json::to_string(&WebhookOverview::from(webhook));
        assert_eq!(shown.expect("plain data"), expected);
    }

    #[test]
    fn scopes_and_states() {
        let organization = r#""organization""#;
        check(&webhook(), organization, r#""active""#);
        check(&Webhook { active: false, ..webhook() }, organization, r#""inactive""#);
        let since = Timestamp::from_millis(1_778_653_144_070);
        let suspension = Suspension { since, reason: SuspensionReason::Gone, probe_at: since };
        let health = Health { suspension: Some(suspension), ..Health::default() };
        let detail = r#""suspension":{"reason":"gone","since":"2026-05-13T06:19:04.070Z"}"#;
        let suspended = Webhook { health, ..webhook() };
        check(&suspended, organization, &format!(r#""suspended",{detail}"#));
        let both = Webhook { active: false, ..suspended };
        check(&both, organization, &format!(r#""inactive",{detail}"#));
        let stack = Scope::Stack {
            project: ProjectName::parse("p").expect("valid"),
            stack: StackName::parse("s").expect("valid"),
        };
        let of_stack = Webhook { scope: stack, ..webhook() };
        check(&of_stack, r#""stack","projectName":"p","stackName":"s""#, r#""active""#);
    }

    #[test]
    fn options() {
        let read = |text| WebhookOptions::read(text).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok(WebhookOptions { standard_headers: None }));
        let off = WebhookOptions { standard_headers: Some(false) };
        assert_eq!(read(r#"{"standardHeaders":false}"#), Ok(off));
        let unknown = "active is no field here; there are 'standardHeaders'";
        assert_eq!(read(r#"{"active":false}"#), Err(unknown.to_owned()));
    }
}
