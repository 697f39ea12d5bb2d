//! Webhooks.

use stackbell_model::filter::{Filter, Group, Subscription};
use stackbell_model::health::{Health, RetryAfter, Suspension, SuspensionReason};
use stackbell_model::ids::DataKeyId;
use stackbell_model::names::{DisplayName, EnvironmentName, ProjectName, StackName, WebhookName};
use stackbell_model::scope::Scope;
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::{Format, Pace, PauseReason, PayloadUrl, StoredSecret, Webhook};

use super::{Columns, join};

/// The columns of `webhooks w` and its `organizations o`.
#[macro_export]
macro_rules! webhook_columns {
    () => {
        "w.id, o.id, w.scope_kind, w.scope_project, w.scope_name, w.name, w.display_name, w.payload_url, \
         w.active, w.format, w.filters, w.groups, \
         w.secret_key, w.secret, w.secret_fingerprint, \
         w.previous_secret_key, w.previous_secret, w.previous_secret_until, \
         w.standard_headers, w.pace, w.pause_reason, w.created_at, w.revision, \
         w.failures, w.failing_since, w.suspended_since, w.suspension_reason, w.probe_at, w.hold_ended_at, \
         w.retry_asked_at, w.retry_until"
    };
}

/// Reads a webhook: the columns `id` to `retry_until`. The second column is its organization's id.
///
/// # Errors
/// If the row is not valid.
pub fn read_webhook<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Webhook, C::Fault> {
    cursor.enter("webhooks");
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let scope = read_scope(cursor)?;
    Ok(Webhook {
        id,
        organization,
        name: cursor.parsed("name", WebhookName::parse)?,
        display_name: DisplayName::from_stored(cursor.text("display_name")?),
        payload_url: PayloadUrl::from_stored(cursor.text("payload_url")?),
        active: cursor.flag("active")?,
        format: cursor.word("format", Format::parse)?,
        subscription: read_subscription(cursor, &scope)?,
        scope,
        secret: read_secret(cursor)?,
        standard_headers: cursor.flag("standard_headers")?,
        pace: read_pace(cursor)?,
        pause_reason: read_pause_reason(cursor)?,
        created_at: cursor.time("created_at")?,
        revision: cursor.number("revision")?,
        health: read_health(cursor)?,
    })
}

fn read_pace<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Option<Pace>, C::Fault> {
    let Some(attempts) = cursor.number_or_null("pace")? else { return Ok(None) };
    Pace::per_minute(attempts).map(Some).ok_or_else(|| cursor.fault("pace", &"is out of range"))
}

fn read_pause_reason<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Option<PauseReason>, C::Fault> {
    Ok(cursor.text_or_null("pause_reason")?.map(PauseReason::from_stored))
}

/// Reads the columns `scope_kind` to `scope_name`.
///
/// # Errors
/// If the row is not valid.
pub fn read_scope<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Scope, C::Fault> {
    let kind = cursor.text("scope_kind")?;
    match kind {
        "organization" => {
            cursor.skip("scope_project")?;
            cursor.skip("scope_name")?;
            Ok(Scope::Organization)
        }
        "stack" => Ok(Scope::Stack {
            project: cursor.parsed("scope_project", ProjectName::parse)?,
            stack: cursor.parsed("scope_name", StackName::parse)?,
        }),
        "environment" => Ok(Scope::Environment {
            project: cursor.parsed("scope_project", ProjectName::parse)?,
            environment: cursor.parsed("scope_name", EnvironmentName::parse)?,
        }),
        _ => Err(cursor.fault("scope_kind", &"is no kind of scope")),
    }
}

fn read_subscription<'row, C: Columns<'row>>(
    cursor: &mut C,
    scope: &Scope,
) -> Result<Subscription, C::Fault> {
    let filters: Vec<Filter> = cursor.words("filters", Filter::parse)?;
    let groups: Vec<Group> = cursor.words("groups", Group::parse)?;
    Subscription::new(scope.kind(), filters, groups).map_err(|error| cursor.fault("filters", &error))
}

fn read_secret<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Option<StoredSecret>, C::Fault> {
    let sealed = read_sealed(cursor, "secret_key", "secret")?;
    let fingerprint = cursor.digest_or_null("secret_fingerprint")?;
    let previous = read_sealed(cursor, "previous_secret_key", "previous_secret")?;
    let previous = previous.zip(cursor.time_or_null("previous_secret_until")?);
    Ok(sealed.zip(fingerprint).map(|(sealed, fingerprint)| StoredSecret { sealed, fingerprint, previous }))
}

fn read_sealed<'row, C: Columns<'row>>(
    cursor: &mut C,
    key: &'static str,
    bytes: &'static str,
) -> Result<Option<Sealed>, C::Fault> {
    let key = cursor.id_or_null(key)?;
    let bytes = cursor.bytes_or_null(bytes)?;
    Ok(key.zip(bytes).map(|(key, bytes)| Sealed { key, bytes: bytes.into() }))
}

/// Reads the columns `failures` to `retry_until`.
pub fn read_health<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Health, C::Fault> {
    let failures = cursor.number("failures")?;
    let failing_since = cursor.time_or_null("failing_since")?;
    let since = cursor.time_or_null("suspended_since")?;
    let reason = match cursor.text_or_null("suspension_reason")? {
        Some(word) => Some(
            SuspensionReason::parse(word)
                .ok_or_else(|| cursor.fault("suspension_reason", &"is no reason for a suspension"))?,
        ),
        None => None,
    };
    let probe_at = cursor.time_or_null("probe_at")?;
    let suspension = since.zip(reason).zip(probe_at).map(|((since, reason), probe_at)| Suspension {
        since,
        reason,
        probe_at,
    });
    let hold_ended_at = cursor.time_or_null("hold_ended_at")?;
    let asked_at = cursor.time_or_null("retry_asked_at")?;
    let retry_after = asked_at.zip(cursor.time_or_null("retry_until")?);
    let retry_after = retry_after.map(|(asked_at, until)| RetryAfter { asked_at, until });
    Ok(Health { failures, failing_since, suspension, hold_ended_at, retry_after })
}

/// Splits a scope into its columns: kind, project, name.
pub fn scope_columns(scope: &Scope) -> [&str; 3] {
    let (project, name) = match scope {
        Scope::Organization => ("", ""),
        Scope::Stack { project, stack } => (project.as_str(), stack.as_str()),
        Scope::Environment { project, environment } => (project.as_str(), environment.as_str()),
    };
    [scope.kind().as_str(), project, name]
}

/// The columns of a secret, in the order of [`StoredSecret`].
pub struct SecretColumns<'webhook> {
    /// The data key that sealed it.
    pub key: Option<&'webhook DataKeyId>,
    /// The sealed secret.
    pub bytes: Option<&'webhook [u8]>,
    /// The value that clients compare.
    pub fingerprint: Option<&'webhook [u8; 32]>,
    /// The data key that sealed the previous secret.
    pub previous_key: Option<&'webhook DataKeyId>,
    /// The previous secret, sealed.
    pub previous_bytes: Option<&'webhook [u8]>,
    /// The time until which the previous secret also signs.
    pub previous_until: Option<i64>,
}

/// Splits a webhook's secret into its columns.
pub fn secret_columns(webhook: &Webhook) -> SecretColumns<'_> {
    let secret = webhook.secret.as_ref();
    let previous = secret.and_then(|secret| secret.previous.as_ref());
    SecretColumns {
        key: secret.map(|secret| &secret.sealed.key),
        bytes: secret.map(|secret| &*secret.sealed.bytes),
        fingerprint: secret.map(|secret| &secret.fingerprint),
        previous_key: previous.map(|(sealed, _)| &sealed.key),
        previous_bytes: previous.map(|(sealed, _)| &*sealed.bytes),
        previous_until: previous.map(|(_, until)| until.as_millis()),
    }
}

/// Formats the column `filters`.
pub fn filters_column(subscription: &Subscription) -> String {
    join(subscription.filters().iter().map(|filter| filter.as_str()))
}

/// Formats the column `groups`.
pub fn groups_column(subscription: &Subscription) -> String {
    join(subscription.groups().map(Group::as_str))
}
