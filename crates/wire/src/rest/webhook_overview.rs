//! Webhooks in our own API: all of an organization at a glance.

use std::fmt;

use serde::Serialize;
use stackbell_model::filter::Group;
use stackbell_model::names::OrganizationName;
use stackbell_model::scope::ScopeNames;
use stackbell_model::webhook::{Pace, Webhook};
use utoipa::ToSchema;

use super::body::{Body, BodyError};
use super::rfc3339;

/// A webhook of any scope, with its state: everything that Pulumi's API shows, and the fields of our own API.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOverview {
    /// Its id, which never changes.
    pub id: String,
    /// Its scope: `organization`, `stack` or `environment`.
    pub scope: &'static str,
    /// Its organization.
    pub organization_name: String,
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
    /// Its label for users.
    pub display_name: String,
    /// The destination of its deliveries; only scheme and host for users with read access only.
    pub payload_url: String,
    /// Whether new events are matched.
    pub active: bool,
    /// `raw`, `slack`, `ms_teams` or `pulumi_deployments`.
    pub format: &'static str,
    /// The events that it receives; if `groups` is empty too, all events in its scope.
    pub filters: Vec<&'static str>,
    /// The groups of events that it receives.
    pub groups: Vec<&'static str>,
    /// Whether its deliveries are signed.
    pub has_secret: bool,
    /// Changes exactly when its secret does; empty if there is none.
    pub secret_ciphertext: String,
    /// `active`, `inactive` (a user set it inactive) or `suspended` (its endpoint is failing).
    pub state: &'static str,
    /// The reason and the start of the suspension, if there is one; also while it is inactive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = WebhookSuspension, required = false)]
    pub suspension: Option<WebhookSuspension>,
    /// Its circuit breaker; absent while the server stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = WebhookBreaker, required = false)]
    pub breaker: Option<WebhookBreaker>,
    /// Whether signed deliveries also contain the headers of Standard Webhooks.
    pub standard_headers: bool,
    /// The maximum number of attempts per minute, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, required = false)]
    pub attempts_per_minute: Option<u32>,
    /// The reason why it is inactive, if a user gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub pause_reason: Option<String>,
}

/// The suspension of a webhook, which holds its deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebhookSuspension {
    /// `gone`: the endpoint responded 410. `failing`: it failed for days.
    pub reason: &'static str,
    /// When it began: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub since: String,
}

/// A webhook's circuit breaker. While it is open, the endpoint gets only single attempts until one succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBreaker {
    /// `closed` or `open`. All other fields are present only while it is open.
    pub state: &'static str,
    /// `failures` of the endpoint, or `our_fault` if the requests cannot be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub cause: Option<&'static str>,
    /// When the next attempt is made at the latest, if a delivery is due then; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub until: Option<String>,
    /// The reason for the last failed attempt, for users. Absent in lists of webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub because: Option<String>,
    /// Failed attempts since the last success, without those that users requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, required = false)]
    pub failures: Option<u32>,
    /// When the first of these failures was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub failing_since: Option<String>,
}

impl WebhookBreaker {
    /// A closed circuit breaker.
    pub const CLOSED: Self = Self {
        state: "closed",
        cause: None,
        until: None,
        because: None,
        failures: None,
        failing_since: None,
    };
}

/// Hides the URL.
impl fmt::Debug for WebhookOverview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookOverview")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl WebhookOverview {
    /// Converts `webhook`, of the organization with this name. `sees_credentials` is whether the caller may
    /// see the full payload URL.
    pub fn new(webhook: &Webhook, organization: &OrganizationName, sees_credentials: bool) -> Self {
        let ScopeNames { project, stack, environment } = webhook.scope.names();
        let suspension = webhook.health.suspension.map(|suspension| WebhookSuspension {
            reason: suspension.reason.as_str(),
            since: rfc3339(suspension.since),
        });
        let url = &webhook.payload_url;
        let fingerprint = webhook.secret.as_ref().map(|secret| secret.fingerprint);
        Self {
            id: webhook.id.to_string(),
            scope: webhook.scope.kind().as_str(),
            organization_name: organization.to_string(),
            project_name: project.map(str::to_owned),
            stack_name: stack.map(str::to_owned),
            environment_name: environment.map(str::to_owned),
            name: webhook.name.to_string(),
            display_name: webhook.display_name.to_string(),
            payload_url: if sees_credentials { url.expose().to_owned() } else { url.redacted() },
            active: webhook.active,
            format: webhook.format.as_str(),
            filters: webhook.subscription.filters().iter().map(|filter| filter.as_str()).collect(),
            groups: webhook.subscription.groups().map(Group::as_str).collect(),
            has_secret: fingerprint.is_some(),
            secret_ciphertext: fingerprint.map(hex::encode).unwrap_or_default(),
            state: webhook.state().as_str(),
            suspension,
            breaker: None,
            standard_headers: webhook.standard_headers,
            attempts_per_minute: webhook.pace.map(Pace::attempts_per_minute),
            pause_reason: webhook.pause_reason.as_ref().map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// The changes to a webhook's options; absent options stay unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct WebhookOptions {
    /// Whether signed deliveries also contain the headers of Standard Webhooks.
    #[schema(value_type = Option<bool>, required = false)]
    pub standard_headers: Option<bool>,
    /// The maximum number of attempts per minute, 1 to 60,000; null for the default of the format.
    #[schema(value_type = Option<u32>, required = false)]
    pub attempts_per_minute: Option<Option<u64>>,
    /// Whether new events are matched.
    #[schema(value_type = Option<bool>, required = false)]
    pub active: Option<bool>,
    /// The reason why it is inactive, in 1 to 256 characters. Null removes it, and so does setting the
    /// webhook active.
    #[schema(value_type = Option<String>, required = false)]
    pub pause_reason: Option<Option<String>>,
}

impl WebhookOptions {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["standardHeaders", "attemptsPerMinute", "active", "pauseReason"])?;
        let attempts_per_minute = match body.whole("attemptsPerMinute")? {
            None if body.is_null("attemptsPerMinute") => Some(None),
            attempts => attempts.map(Some),
        };
        let pause_reason = match body.text("pauseReason")? {
            None if body.is_null("pauseReason") => Some(None),
            reason => reason.map(Some),
        };
        let (standard_headers, active) = (body.truth("standardHeaders")?, body.truth("active")?);
        Ok(Self { standard_headers, attempts_per_minute, active, pause_reason })
    }
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;
    use stackbell_model::filter::Subscription;
    use stackbell_model::health::{Health, Suspension, SuspensionReason};
    use stackbell_model::ids::{OrganizationId, WebhookId};
    use stackbell_model::names::{DisplayName, ProjectName, StackName, WebhookName};
    use stackbell_model::scope::Scope;
    use stackbell_model::webhook::{Format, PauseReason, PayloadUrl};
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
            pace: None,
            pause_reason: None,
            created_at: Timestamp::from_millis(0),
            revision: 1,
            health: Health::default(),
        }
    }

    fn shown(webhook: &Webhook, sees_credentials: bool) -> WebhookOverview {
        let organization = OrganizationName::parse("acme").expect("valid");
        WebhookOverview::new(webhook, &organization, sees_credentials)
    }

    fn check(webhook: &Webhook, scope: &str, state: &str) {
        let active = webhook.active;
        let expected = format!(
            r#"{{"id":"00000000-0000-0000-0000-000000000000","scope":{scope},"name":"n","displayName":"d","payloadUrl":"https://a.example/secret","active":{active},"format":"raw","filters":[],"groups":[],"hasSecret":false,"secretCiphertext":"","state":{state},"standardHeaders":true}}"#
        );
        let shown = serde_json::to_string(&shown(webhook, true));
        assert_eq!(shown.expect("plain data"), expected);
    }

    #[test]
    fn scopes_and_states() {
        let organization = r#""organization","organizationName":"acme""#;
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
        check(
            &of_stack,
            r#""stack","organizationName":"acme","projectName":"p","stackName":"s""#,
            r#""active""#,
        );
    }

    #[test]
    fn options() {
        let read = |text| WebhookOptions::read(text).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok(WebhookOptions::default()));
        let off = WebhookOptions { standard_headers: Some(false), ..WebhookOptions::default() };
        assert_eq!(read(r#"{"standardHeaders":false}"#), Ok(off));
        let all = WebhookOptions {
            standard_headers: None,
            attempts_per_minute: Some(Some(60)),
            active: Some(false),
            pause_reason: Some(Some("moving".to_owned())),
        };
        let text = r#"{"attemptsPerMinute":60,"active":false,"pauseReason":"moving"}"#;
        assert_eq!(read(text), Ok(all));
        let none = WebhookOptions {
            attempts_per_minute: Some(None),
            pause_reason: Some(None),
            ..WebhookOptions::default()
        };
        assert_eq!(read(r#"{"attemptsPerMinute":null,"pauseReason":null}"#), Ok(none));
        let unknown = "pace is no field here; there are 'standardHeaders', 'attemptsPerMinute', 'active', 'pauseReason'";
        assert_eq!(read(r#"{"pace":1}"#), Err(unknown.to_owned()));
    }

    #[test]
    fn options_are_shown() {
        let pace = Pace::per_minute(60);
        let pause_reason = PauseReason::parse("moving").ok();
        let shown = shown(&Webhook { pace, pause_reason, active: false, ..webhook() }, false);
        assert_eq!(shown.attempts_per_minute, Some(60));
        assert_eq!(shown.pause_reason.as_deref(), Some("moving"));
        assert_eq!(shown.payload_url, "https://a.example");
    }
}
