//! A webhook: who wants to hear of what, and where.

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

/// The most characters of a payload URL. Well above what any known service hands out (Teams: about 400).
pub const PAYLOAD_URL_BYTES_MAX: usize = 2048;

/// The most webhooks in one scope.
pub const WEBHOOKS_IN_SCOPE_MAX: usize = 1000;

/// How a webhook's deliveries are rendered. Source: wire-facts.md#formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The event's payload, as it is.
    Raw,
    /// A message for a Slack incoming webhook.
    Slack,
    /// A message for a Microsoft Teams webhook.
    MsTeams,
    /// A run of another stack's deployment.
    PulumiDeployments,
}

impl Format {
    /// All of them.
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

    /// Reads the spelling of the wire; `None` when there is no such one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == text)
    }

    /// Whether a webhook of this scope may have it: `pulumi_deployments` is not for organizations.
    pub const fn allowed_in(self, scope: ScopeKind) -> bool {
        !matches!((self, scope), (Self::PulumiDeployments, ScopeKind::Organization))
    }
}

/// Where a webhook's deliveries go, exactly as it was typed: clients compare it.
///
/// A credential (Slack's is in the path): `Display` and `Debug` show scheme and host alone (invariant 8).
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadUrl(Box<str>);

/// Why a text is not a payload URL for a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadUrlError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`PAYLOAD_URL_BYTES_MAX`].
    #[error("must be at most {PAYLOAD_URL_BYTES_MAX} bytes long, is {0}")]
    TooLong(usize),
    /// Not a URL that requests can be sent to.
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    /// Not at one of Slack's hosts.
    #[error("must begin with https:// and one of the hosts for format 'slack': {0}")]
    Slack(String),
    /// Not `project/stack`.
    #[error("must be project/stack for format 'pulumi_deployments'")]
    Deployments,
    /// A project or stack that cannot exist.
    #[error("must be project/stack for format 'pulumi_deployments': the {part} {error}")]
    DeploymentsName {
        /// `project` or `stack`.
        part: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
}

impl PayloadUrl {
    /// Reads a payload URL for `format`. `slack_hosts` are the hosts that the format `slack` may send to.
    ///
    /// # Errors
    /// [`PayloadUrlError`], saying what such a URL has to be. Source of the rules: wire-facts.md#payload-url.
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

    /// Takes a text that was once parsed and has been kept in a store since.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The whole URL: for sending, for the store and for those who may see it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL to call; `None` for `pulumi_deployments`, whose payload URL names a stack.
    pub fn to_url(&self) -> Option<Url> {
        Url::parse(&self.0).ok().filter(Url::has_host)
    }

    /// Scheme and host: all that logs, errors and those who may only read get to see.
    /// A `project/stack` is no credential and stays whole.
    pub fn redacted(&self) -> String {
        match self.to_url() {
            Some(url) => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
            None => self.0.to_string(),
        }
    }
}

/// Checks that a text is `project/stack`, with names that a project and a stack can have.
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

/// How many attempts a minute are made at most, spread evenly: 1 to [`Pace::PER_MINUTE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace(NonZeroU32);

impl Pace {
    /// A thousand a second: beyond this a pace is none.
    pub const PER_MINUTE_MAX: u32 = 60_000;

    /// `None` when it is out of range.
    pub fn per_minute(attempts: u32) -> Option<Self> {
        NonZeroU32::new(attempts).filter(|n| n.get() <= Self::PER_MINUTE_MAX).map(Self)
    }

    /// Attempts a minute.
    pub const fn attempts_per_minute(self) -> u32 {
        self.0.get()
    }

    /// The time from one attempt to the next.
    pub fn interval(self) -> Duration {
        Duration::from_secs(60) / self.0.get()
    }
}

/// Why a webhook was set inactive: 1 to 256 characters, not only blanks, none of them [hidden](crate::hidden).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseReason(DisplayName);

impl PauseReason {
    /// Reads a reason.
    ///
    /// # Errors
    /// [`NameError`], saying what such a text has to be.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        DisplayName::parse(text).map(Self)
    }

    /// Takes a text that was once parsed and has been kept in a store since.
    pub fn from_stored(text: &str) -> Self {
        Self(DisplayName::from_stored(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A webhook's secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, sealed.
    pub sealed: Sealed,
    /// What clients compare to see whether the secret changed: `secretCiphertext` on the wire.
    pub fingerprint: [u8; 32],
    /// The secret before this one, which also signs (Standard Webhooks) until the given moment.
    pub previous: Option<(Sealed, Timestamp)>,
}

/// What decides how an endpoint answers: after a change of it, earlier failures say nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The payload URL, in full.
    pub payload_url: &'a str,
    /// [`StoredSecret::fingerprint`], where there is a secret.
    pub secret: Option<[u8; 32]>,
}

/// A registered webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id, for life.
    pub id: WebhookId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Where it is registered.
    pub scope: Scope,
    /// Its identifier, unique in the scope.
    pub name: WebhookName,
    /// What people call it.
    pub display_name: DisplayName,
    /// Where deliveries go.
    pub payload_url: PayloadUrl,
    /// Whether new events are matched. When false, pending deliveries are held.
    pub active: bool,
    /// How deliveries are rendered. Fixed for each delivery when its event is accepted.
    pub format: Format,
    /// What it asked for.
    pub subscription: Subscription,
    /// Its secret, if it has one.
    pub secret: Option<StoredSecret>,
    /// Whether signed deliveries also carry the headers of Standard Webhooks.
    pub standard_headers: bool,
    /// The most attempts a minute; `None` for what its format brings along.
    pub pace: Option<Pace>,
    /// Why somebody set it inactive, in their words. `None` while it is active.
    pub pause_reason: Option<PauseReason>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Counts its edits, from 1. Whoever prepared something from it compares this.
    pub revision: u64,
    /// How its endpoint has been doing. Changes without a new revision.
    pub health: Health,
}

/// How a webhook does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookState {
    /// New events are matched and sent.
    Active,
    /// Somebody switched it off.
    Inactive,
    /// Its endpoint fails, and what is for it waits.
    Suspended,
}

impl WebhookState {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Active, Self::Inactive, Self::Suspended];

    /// The word for it in questions and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
        }
    }

    /// Reads that word; `None` when there is no such state.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

impl Webhook {
    /// How it does: somebody's word counts before its endpoint's.
    pub const fn state(&self) -> WebhookState {
        match (self.active, &self.health.suspension) {
            (false, _) => WebhookState::Inactive,
            (true, Some(_)) => WebhookState::Suspended,
            (true, None) => WebhookState::Active,
        }
    }

    /// Where it sends to, and with what secret.
    pub fn endpoint(&self) -> Endpoint<'_> {
        let secret = self.secret.as_ref().map(|secret| secret.fingerprint);
        Endpoint { payload_url: self.payload_url.expose(), secret }
    }

    /// The edit that made this webhook of one with that state and endpoint.
    pub fn edit_of(&self, was_active: bool, before: Endpoint<'_>) -> EndpointEdit {
        EndpointEdit { was_active, is_active: self.active, is_endpoint_changed: self.endpoint() != before }
    }

    /// Whether its pending deliveries wait for a person or a probe.
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
