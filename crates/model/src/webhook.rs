//! A webhook: its subscription and its endpoint.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use url::Url;

use crate::Timestamp;
use crate::filter::Subscription;
use crate::health::{EndpointEdit, Health};
use crate::http_url::{self, HttpUrlError};
use crate::ids::{OrganizationId, WebhookId};
use crate::names::{DisplayName, NameError, ProjectName, StackName, WebhookName};
use crate::scope::{Scope, ScopeKind};
use crate::secret::Sealed;

/// The maximum size of a payload URL. Well above the URLs of any known service (Teams: about 400).
pub const PAYLOAD_URL_BYTES_MAX: usize = 2048;

/// The maximum number of webhooks in one scope.
pub const WEBHOOKS_IN_SCOPE_MAX: usize = 1000;

/// The format in which a webhook's deliveries are rendered. Source: wire-facts.md#formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The event's payload, unchanged.
    Raw,
    /// A message for a Slack incoming webhook.
    Slack,
    /// A message for a Microsoft Teams webhook.
    MsTeams,
    /// A request that runs another stack's deployment.
    PulumiDeployments,
}

impl Format {
    /// All formats.
    pub const ALL: &'static [Self] = &[Self::Raw, Self::Slack, Self::MsTeams, Self::PulumiDeployments];

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Slack => "slack",
            Self::MsTeams => "ms_teams",
            Self::PulumiDeployments => "pulumi_deployments",
        }
    }

    /// Parses the wire spelling; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == text)
    }

    /// Whether a webhook of this scope may use the format: `pulumi_deployments` is not for organizations.
    pub const fn allowed_in(self, scope: ScopeKind) -> bool {
        !matches!((self, scope), (Self::PulumiDeployments, ScopeKind::Organization))
    }
}

/// The destination of a webhook's deliveries, exactly as the user typed it, because clients compare it.
///
/// It is a credential (Slack's is in the path): `Display` and `Debug` show only scheme and host (invariant
/// 8).
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadUrl(Box<str>);

/// The reason why a text is not a payload URL for a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadUrlError {
    /// Empty.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`PAYLOAD_URL_BYTES_MAX`].
    #[error("must be at most {PAYLOAD_URL_BYTES_MAX} bytes long, is {0}")]
    TooLong(usize),
    /// Not a URL that requests can be sent to.
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    /// The host is not one of Slack's hosts.
    #[error("must begin with https:// and one of the hosts for format 'slack': {0}")]
    Slack(String),
    /// Not `project/stack`.
    #[error("must be project/stack for format 'pulumi_deployments'")]
    Deployments,
    /// A project or stack name that is not valid.
    #[error("must be project/stack for format 'pulumi_deployments': the {part} {error}")]
    DeploymentsName {
        /// `project` or `stack`.
        part: &'static str,
        /// The rule that the name breaks.
        error: NameError,
    },
}

impl PayloadUrl {
    /// Parses a payload URL for `format`. The format `slack` may only send to `slack_hosts`.
    ///
    /// # Errors
    /// [`PayloadUrlError`], with the rule that the text breaks. Source of the rules:
    /// wire-facts.md#payload-url.
    pub fn parse(text: &str, format: Format, slack_hosts: &[String]) -> Result<Self, PayloadUrlError> {
        if text.is_empty() {
            return Err(PayloadUrlError::Empty);
        }
        if text.len() > PAYLOAD_URL_BYTES_MAX {
            return Err(PayloadUrlError::TooLong(text.len()));
        }
        if format == Format::PulumiDeployments {
            check_stack(text)?;
            return Ok(Self(text.into()));
        }
        http_url::parse(text)?;
        if format == Format::Slack {
            let at_slack = slack_hosts.iter().any(|host| {
                text.strip_prefix("https://")
                    .and_then(|rest| rest.strip_prefix(host.as_str()))
                    .is_some_and(|rest| rest.starts_with('/'))
            });
            if !at_slack {
                return Err(PayloadUrlError::Slack(slack_hosts.join(", ")));
            }
        }
        Ok(Self(text.into()))
    }

    /// Wraps a stored text without validation.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The full URL, for sending, for the store, and for users who may see it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL of the request; `None` for `pulumi_deployments`, whose payload URL is the name of a stack.
    pub fn to_url(&self) -> Option<Url> {
        Url::parse(&self.0).ok().filter(Url::has_host)
    }

    /// Scheme and host. Logs, errors and users with read access see no more.
    /// A `project/stack` is no credential and is shown in full.
    pub fn redacted(&self) -> String {
        match self.to_url() {
            Some(url) => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
            None => self.0.to_string(),
        }
    }
}

/// Checks that a text is `project/stack`, with valid names.
fn check_stack(text: &str) -> Result<(), PayloadUrlError> {
    let (project, stack) = text
        .split_once('/')
        .filter(|(project, stack)| !project.is_empty() && !stack.is_empty() && !stack.contains('/'))
        .ok_or(PayloadUrlError::Deployments)?;
    let refused = |part| move |error| PayloadUrlError::DeploymentsName { part, error };
    ProjectName::parse(project).map_err(refused("project"))?;
    StackName::parse(stack).map_err(refused("stack"))?;
    Ok(())
}

impl fmt::Display for PayloadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for PayloadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadUrl({:?})", self.redacted())
    }
}

/// A rate limit: the maximum number of attempts per minute, spread evenly. 1 to [`Pace::PER_MINUTE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace(NonZeroU32);

impl Pace {
    /// A thousand per second. A higher limit would have no effect.
    pub const PER_MINUTE_MAX: u32 = 60_000;

    /// Returns `None` if the number is out of range.
    pub fn per_minute(attempts: u32) -> Option<Self> {
        NonZeroU32::new(attempts).filter(|n| n.get() <= Self::PER_MINUTE_MAX).map(Self)
    }

    /// Attempts per minute.
    pub const fn attempts_per_minute(self) -> u32 {
        self.0.get()
    }

    /// The time between two attempts.
    pub fn interval(self) -> Duration {
        Duration::from_secs(60) / self.0.get()
    }
}

/// The reason why a webhook was set inactive: 1 to 256 characters, not only blanks, none of them
/// [hidden](crate::hidden).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseReason(DisplayName);

impl PauseReason {
    /// Parses a reason.
    ///
    /// # Errors
    /// [`NameError`], with the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        DisplayName::parse(text).map(Self)
    }

    /// Wraps a stored text without validation.
    pub fn from_stored(text: &str) -> Self {
        Self(DisplayName::from_stored(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A webhook's secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, sealed.
    pub sealed: Sealed,
    /// A value that clients compare to see whether the secret changed: `secretCiphertext` on the wire.
    pub fingerprint: [u8; 32],
    /// The previous secret, which also signs (Standard Webhooks) until the given time.
    pub previous: Option<(Sealed, Timestamp)>,
}

/// The settings that decide how an endpoint responds. After a change, earlier failures no longer count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The payload URL, in full.
    pub payload_url: &'a str,
    /// [`StoredSecret::fingerprint`], if there is a secret.
    pub secret: Option<[u8; 32]>,
}

/// A registered webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id, which never changes.
    pub id: WebhookId,
    /// Its organization.
    pub organization: OrganizationId,
    /// The scope in which it is registered.
    pub scope: Scope,
    /// Its identifier, unique in the scope.
    pub name: WebhookName,
    /// Its label for users.
    pub display_name: DisplayName,
    /// The destination of its deliveries.
    pub payload_url: PayloadUrl,
    /// Whether new events are matched. If false, pending deliveries are held.
    pub active: bool,
    /// The format in which deliveries are rendered. Fixed for each delivery when its event is accepted.
    pub format: Format,
    /// Its filters and groups.
    pub subscription: Subscription,
    /// Its secret, if it has one.
    pub secret: Option<StoredSecret>,
    /// Whether signed deliveries also contain the headers of Standard Webhooks.
    pub standard_headers: bool,
    /// The rate limit; `None` for the default of its format.
    pub pace: Option<Pace>,
    /// The reason that a user gave for setting it inactive. `None` while it is active.
    pub pause_reason: Option<PauseReason>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The number of its edits, from 1. Code that caches data about a webhook compares it.
    pub revision: u64,
    /// The health of its endpoint. It changes without a new revision.
    pub health: Health,
}

/// The state of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookState {
    /// New events are matched and sent.
    Active,
    /// A user set it inactive.
    Inactive,
    /// Its endpoint is failing, and its deliveries are held.
    Suspended,
}

impl WebhookState {
    /// All states.
    pub const ALL: &'static [Self] = &[Self::Active, Self::Inactive, Self::Suspended];

    /// The text form for requests and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

impl Webhook {
    /// Returns its state. Inactive takes precedence over suspended.
    pub const fn state(&self) -> WebhookState {
        match (self.active, &self.health.suspension) {
            (false, _) => WebhookState::Inactive,
            (true, Some(_)) => WebhookState::Suspended,
            (true, None) => WebhookState::Active,
        }
    }

    /// Returns its URL and its secret.
    pub fn endpoint(&self) -> Endpoint<'_> {
        let secret = self.secret.as_ref().map(|secret| secret.fingerprint);
        Endpoint { payload_url: self.payload_url.expose(), secret }
    }

    /// Returns the effect of an edit that changed a webhook with the given state and endpoint into this one.
    pub fn edit_of(&self, was_active: bool, before: Endpoint<'_>) -> EndpointEdit {
        EndpointEdit { was_active, is_active: self.active, is_endpoint_changed: self.endpoint() != before }
    }

    /// Whether its pending deliveries are held until a user or a probe releases them.
    pub fn is_held(&self) -> bool {
        !self.active || self.health.suspension.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, format: Format, expected: Result<&str, &str>) {
        let slack_hosts = ["hooks.slack.com".to_owned()];
        let actual = PayloadUrl::parse(text, format, &slack_hosts);
        assert_eq!(
            actual.as_ref().map(ToString::to_string).map_err(ToString::to_string),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    }

    #[test]
    fn payload_urls() {
        check("http://bla.com", Format::Raw, Ok("http://bla.com"));
        check("https://localhost.local", Format::MsTeams, Ok("https://localhost.local"));
        check("https://a.example/secret?x=1", Format::Raw, Ok("https://a.example"));
        check("", Format::Raw, Err("must not be empty"));
        check("ftp://a.example/", Format::Raw, Err("must begin with http:// or https://, not ftp:"));
        check("a.example", Format::Raw, Err("is not a URL: relative URL without a base"));
        check("https://", Format::Raw, Err("is not a URL: empty host"));
        check("https:///x", Format::MsTeams, Err("must have :// and a host after the scheme"));
        check("https://hooks.slack.com/services/T/B/x", Format::Slack, Ok("https://hooks.slack.com"));
        let slack = "must begin with https:// and one of the hosts for format 'slack': hooks.slack.com";
        check("https://hooks.slack.com.evil.example/", Format::Slack, Err(slack));
        check("http://hooks.slack.com/services", Format::Slack, Err(slack));
        check("web/prod", Format::PulumiDeployments, Ok("web/prod"));
        let deployments = "must be project/stack for format 'pulumi_deployments'";
        check("web", Format::PulumiDeployments, Err(deployments));
        check("a/b/c", Format::PulumiDeployments, Err(deployments));
        check("/b", Format::PulumiDeployments, Err(deployments));
        check("a/", Format::PulumiDeployments, Err(deployments));
        check("", Format::PulumiDeployments, Err("must not be empty"));
    }

    #[test]
    fn deployments_are_of_a_stack_that_can_exist() {
        let check = |text: &str, part: &str, what: &str| {
            let expected =
                format!("must be project/stack for format 'pulumi_deployments': the {part} must {what}");
            check(text, Format::PulumiDeployments, Err(&expected));
        };
        let dots = "not be '.' or '..'";
        for (text, part) in [
            ("../..", "project"),
            ("./.", "project"),
            ("../a", "project"),
            ("a/..", "stack"),
            ("a/.", "stack"),
        ] {
            check(text, part, dots);
        }
        let character = |c: &str| format!("consist of letters, digits, '.', '_' and '-'; {c} is not allowed");
        check("a/b c", "stack", &character("' '"));
        check(" a/b", "project", &character("' '"));
        check("%2e%2e/a", "project", &character("'%'"));
        check("a/b\u{200b}", "stack", &character("'\\u{200b}'"));
        check("a/b?c", "stack", &character("'?'"));
        check("a/b#c", "stack", &character("'#'"));
        check(&format!("{}/a", "x".repeat(101)), "project", "be at most 100 characters long, is 101");
    }
}
