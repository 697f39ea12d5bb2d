//! Webhooks.

use rusqlite::params;
use rusqlite::{Connection, Statement};
use stackbell_model::Timestamp;
use stackbell_model::filter::{Filter, Group, Subscription};
use stackbell_model::health::{Health, Suspension, SuspensionReason};
use stackbell_model::names::{DisplayName, EnvironmentName, ProjectName, StackName, WebhookName};
use stackbell_model::scope::Scope;
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::{Format, Pace, PauseReason, PayloadUrl, StoredSecret, Webhook};

use crate::error::Fault;
use crate::rows::{Cursor, Id, change, integer, join};

/// Of `webhooks w` and its `organizations o`.
macro_rules! webhook_columns {
    () => {
        "w.id, o.id, w.scope_kind, w.scope_project, w.scope_name, w.name, w.display_name, w.payload_url, \
         w.active, w.format, w.filters, w.groups, \
         w.secret_key, w.secret, w.secret_fingerprint, \
         w.previous_secret_key, w.previous_secret, w.previous_secret_until, \
         w.standard_headers, w.pace, w.pause_reason, w.created_at, w.revision, \
         w.failures, w.failing_since, w.suspended_since, w.suspension_reason, w.probe_at, w.hold_ended_at"
    };
}
pub(crate) use webhook_columns;

pub(crate) fn read_webhook(cursor: &mut Cursor<'_>) -> Result<Webhook, Fault> {
    cursor.enter("webhooks");
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let scope = read_scope(cursor)?;
    Ok(Webhook {
        id,
        organization,
        name: cursor.parsed("name", WebhookName::parse)?,
        display_name: cursor.parsed("display_name", DisplayName::parse)?,
        payload_url: PayloadUrl::from_stored(cursor.text("payload_url")?),
        active: cursor.get("active")?,
        format: cursor.word("format", Format::parse)?,
        subscription: read_subscription(cursor, &scope)?,
        scope,
        secret: read_secret(cursor)?,
        standard_headers: cursor.get("standard_headers")?,
        pace: read_pace(cursor)?,
        pause_reason: read_pause_reason(cursor)?,
        created_at: cursor.time("created_at")?,
        revision: cursor.count("revision")?,
        health: read_health(cursor)?,
    })
}

fn read_pace(cursor: &mut Cursor<'_>) -> Result<Option<Pace>, Fault> {
    let Some(attempts) = cursor.get::<Option<u32>>("pace")? else { return Ok(None) };
    Pace::per_minute(attempts).map(Some).ok_or_else(|| cursor.fault("pace", &"is out of range"))
}

fn read_pause_reason(cursor: &mut Cursor<'_>) -> Result<Option<PauseReason>, Fault> {
    let Some(text) = cursor.text_or_null("pause_reason")? else { return Ok(None) };
    PauseReason::parse(text).map(Some).map_err(|error| cursor.fault("pause_reason", &error))
}

pub(crate) fn read_scope(cursor: &mut Cursor<'_>) -> Result<Scope, Fault> {
    let kind = cursor.text("scope_kind")?;
    match kind {
        "organization" => {
            cursor.raw("scope_project")?;
            cursor.raw("scope_name")?;
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

fn read_subscription(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Subscription, Fault> {
    let filters: Vec<Filter> = cursor.words("filters", Filter::parse)?;
    let groups: Vec<Group> = cursor.words("groups", Group::parse)?;
    Subscription::new(scope.kind(), filters, groups).map_err(|error| cursor.fault("filters", &error))
}

fn read_secret(cursor: &mut Cursor<'_>) -> Result<Option<StoredSecret>, Fault> {
    let sealed = read_sealed(cursor, "secret_key", "secret")?;
    let fingerprint: Option<[u8; 32]> = cursor.get("secret_fingerprint")?;
    let previous = read_sealed(cursor, "previous_secret_key", "previous_secret")?;
    let previous = previous.zip(cursor.time_or_null("previous_secret_until")?);
    Ok(sealed.zip(fingerprint).map(|(sealed, fingerprint)| StoredSecret { sealed, fingerprint, previous }))
}

fn read_sealed(
    cursor: &mut Cursor<'_>,
    key: &'static str,
    bytes: &'static str,
) -> Result<Option<Sealed>, Fault> {
    let key = cursor.id_or_null(key)?;
    let bytes: Option<Vec<u8>> = cursor.get(bytes)?;
    Ok(key.zip(bytes).map(|(key, bytes)| Sealed { key, bytes: bytes.into() }))
}

/// The columns `failures` to `hold_ended_at`.
pub(crate) fn read_health(cursor: &mut Cursor<'_>) -> Result<Health, Fault> {
    let failures = cursor.get("failures")?;
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
    Ok(Health { failures, failing_since, suspension, hold_ended_at: cursor.time_or_null("hold_ended_at")? })
}

/// A scope's columns: kind, project, name.
pub(crate) fn scope_columns(scope: &Scope) -> [&str; 3] {
    let (project, name) = match scope {
        Scope::Organization => ("", ""),
        Scope::Stack { project, stack } => (project.as_str(), stack.as_str()),
        Scope::Environment { project, environment } => (project.as_str(), environment.as_str()),
    };
    [scope.kind().as_str(), project, name]
}

pub(crate) const INSERT_WEBHOOK: &str = "/* insert_webhook */ INSERT INTO webhooks \
    (id, organization_number, scope_kind, scope_project, scope_name, name, display_name, payload_url, active, \
     format, filters, groups, secret_key, secret, secret_fingerprint, previous_secret_key, previous_secret, \
     previous_secret_until, standard_headers, pace, pause_reason, created_at, revision, failures) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, \
     ?23, 0)";

pub(crate) const UPDATE_WEBHOOK: &str = "/* update_webhook */ UPDATE webhooks SET \
    display_name = ?2, payload_url = ?3, active = ?4, format = ?5, filters = ?6, groups = ?7, secret_key = ?8, \
    secret = ?9, secret_fingerprint = ?10, previous_secret_key = ?11, previous_secret = ?12, \
    previous_secret_until = ?13, standard_headers = ?14, pace = ?15, pause_reason = ?16, revision = revision + 1 \
    WHERE number = ?1";

pub(crate) const UPDATE_HEALTH: &str = "/* update_health */ UPDATE webhooks SET failures = ?2, \
    failing_since = ?3, suspended_since = ?4, suspension_reason = ?5, probe_at = ?6, hold_ended_at = ?7 \
    WHERE number = ?1";

/// The columns of a secret, in the order of [`StoredSecret`].
struct SecretColumns<'webhook> {
    key: Option<&'webhook [u8; 16]>,
    bytes: Option<&'webhook [u8]>,
    fingerprint: Option<&'webhook [u8; 32]>,
    previous_key: Option<&'webhook [u8; 16]>,
    previous_bytes: Option<&'webhook [u8]>,
    previous_until: Option<i64>,
}

fn secret_columns(webhook: &Webhook) -> SecretColumns<'_> {
    let secret = webhook.secret.as_ref();
    let previous = secret.and_then(|secret| secret.previous.as_ref());
    SecretColumns {
        key: secret.map(|secret| secret.sealed.key.bytes()),
        bytes: secret.map(|secret| &*secret.sealed.bytes),
        fingerprint: secret.map(|secret| &secret.fingerprint),
        previous_key: previous.map(|(sealed, _)| sealed.key.bytes()),
        previous_bytes: previous.map(|(sealed, _)| &*sealed.bytes),
        previous_until: previous.map(|(_, until)| until.as_millis()),
    }
}

/// Inserts a webhook with the health that it has.
pub(crate) fn insert_webhook(
    connection: &Connection,
    organization_number: i64,
    webhook: &Webhook,
) -> Result<(), rusqlite::Error> {
    let [scope_kind, scope_project, scope_name] = scope_columns(&webhook.scope);
    let secret = secret_columns(webhook);
    change(
        connection,
        INSERT_WEBHOOK,
        params![
            webhook.id.bytes(),
            organization_number,
            scope_kind,
            scope_project,
            scope_name,
            webhook.name.as_str(),
            webhook.display_name.as_str(),
            webhook.payload_url.expose(),
            webhook.active,
            webhook.format.as_str(),
            filters_column(&webhook.subscription),
            groups_column(&webhook.subscription),
            secret.key,
            secret.bytes,
            secret.fingerprint,
            secret.previous_key,
            secret.previous_bytes,
            secret.previous_until,
            webhook.standard_headers,
            webhook.pace.map(Pace::attempts_per_minute),
            webhook.pause_reason.as_ref().map(PauseReason::as_str),
            webhook.created_at.as_millis(),
            integer(webhook.revision),
        ],
    )?;
    let number = connection.last_insert_rowid();
    if webhook.health != Health::default() {
        update_health(&mut *connection.prepare_cached(UPDATE_HEALTH)?, number, &webhook.health)?;
    }
    Ok(())
}

/// Writes what people can edit, and counts the edit.
pub(crate) fn update_webhook(
    connection: &Connection,
    number: i64,
    webhook: &Webhook,
) -> Result<(), rusqlite::Error> {
    let secret = secret_columns(webhook);
    let parameters = params![
        number,
        webhook.display_name.as_str(),
        webhook.payload_url.expose(),
        webhook.active,
        webhook.format.as_str(),
        filters_column(&webhook.subscription),
        groups_column(&webhook.subscription),
        secret.key,
        secret.bytes,
        secret.fingerprint,
        secret.previous_key,
        secret.previous_bytes,
        secret.previous_until,
        webhook.standard_headers,
        webhook.pace.map(Pace::attempts_per_minute),
        webhook.pause_reason.as_ref().map(PauseReason::as_str),
    ];
    change(connection, UPDATE_WEBHOOK, parameters).map(|_| ())
}

/// Writes a webhook's health through [`UPDATE_HEALTH`].
pub(crate) fn update_health(
    statement: &mut Statement<'_>,
    number: i64,
    health: &Health,
) -> Result<(), rusqlite::Error> {
    let suspension = health.suspension;
    let parameters = params![
        number,
        health.failures,
        health.failing_since.map(Timestamp::as_millis),
        suspension.map(|suspension| suspension.since.as_millis()),
        suspension.map(|suspension| suspension.reason.as_str()),
        suspension.map(|suspension| suspension.probe_at.as_millis()),
        health.hold_ended_at.map(Timestamp::as_millis),
    ];
    statement.execute(parameters).map(|_| ())
}

fn filters_column(subscription: &Subscription) -> String {
    join(subscription.filters().iter().map(|filter| filter.as_str()))
}

fn groups_column(subscription: &Subscription) -> String {
    join(subscription.groups().map(Group::as_str))
}
