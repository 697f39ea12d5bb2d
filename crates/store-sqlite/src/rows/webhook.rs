//! Webhooks.

use rusqlite::params;
use rusqlite::{Connection, Statement};
use stackbell_model::Timestamp;
use stackbell_model::health::Health;
use stackbell_model::webhook::{Pace, PauseReason, Webhook};

use crate::rows::change;
use stackbell_store::rows::webhook::{filters_column, groups_column, scope_columns, secret_columns};
use stackbell_store::rows::{Id, integer};

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
    failing_since = ?3, suspended_since = ?4, suspension_reason = ?5, probe_at = ?6, hold_ended_at = ?7, \
    retry_asked_at = ?8, retry_until = ?9 \
    WHERE number = ?1";

/// Inserts a webhook with its health.
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
            secret.key.map(Id::bytes),
            secret.bytes,
            secret.fingerprint,
            secret.previous_key.map(Id::bytes),
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

/// Writes the editable columns, and increments the revision.
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
        secret.key.map(Id::bytes),
        secret.bytes,
        secret.fingerprint,
        secret.previous_key.map(Id::bytes),
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
        health.retry_after.map(|asked| asked.asked_at.as_millis()),
        health.retry_after.map(|asked| asked.until.as_millis()),
    ];
    statement.execute(parameters).map(|_| ())
}
