//! Webhooks in, with how they have been doing, and those that were deleted.

use stackbell_model::Timestamp;
use stackbell_model::health::{RetryAfter, Suspension};
use stackbell_model::webhook::{Pace, PauseReason};
use stackbell_store::rows::webhook::{
    SecretColumns, filters_column, groups_column, scope_columns, secret_columns,
};
use stackbell_store::rows::{Id, integer};
use stackbell_store::transfer::rows::CopiedWebhook;

use super::rows::column;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(INSERT = "/* import.webhooks */ INSERT INTO webhooks \
    (id, organization_number, scope_kind, scope_project, scope_name, name, display_name, payload_url, active, format, \
    filters, groups, secret_key, secret, secret_fingerprint, previous_secret_key, previous_secret, previous_secret_until, \
    standard_headers, pace, pause_reason, created_at, revision, failures, failing_since, suspended_since, \
    suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until, deleted_at, deleted_by) \
    SELECT new.id, o.number, scope_kind, scope_project, scope_name, new.name, new.display_name, payload_url, active, \
        format, filters, groups, secret_key, secret, secret_fingerprint, previous_secret_key, previous_secret, \
        previous_secret_until, standard_headers, pace, pause_reason, new.created_at, revision, failures, failing_since, \
        suspended_since, suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until, deleted_at, deleted_by \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
        $9::boolean[], $10::text[], $11::text[], $12::text[], $13::uuid[], $14::bytea[], $15::bytea[], $16::uuid[], \
        $17::bytea[], $18::bigint[], $19::boolean[], $20::bigint[], $21::text[], $22::bigint[], $23::bigint[], \
        $24::bigint[], $25::bigint[], $26::bigint[], $27::text[], $28::bigint[], $29::bigint[], $30::bigint[], \
        $31::bigint[], $32::bigint[], $33::text[]) WITH ORDINALITY AS new (id, organization, scope_kind, scope_project, scope_name, name, \
        display_name, payload_url, active, format, filters, groups, secret_key, secret, secret_fingerprint, \
        previous_secret_key, previous_secret, previous_secret_until, standard_headers, pace, pause_reason, created_at, \
        revision, failures, failing_since, suspended_since, suspension_reason, probe_at, hold_ended_at, \
        retry_asked_at, retry_until, deleted_at, deleted_by, place) \
    JOIN organizations o ON o.id = new.organization ORDER BY new.place";
    UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BOOL_ARRAY,
    TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, UUID_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, UUID_ARRAY, BYTEA_ARRAY, INT8_ARRAY,
    BOOL_ARRAY, INT8_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY,
    INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY);

/// How many were inserted.
pub(super) async fn insert(tx: &Transaction, rows: &[CopiedWebhook]) -> Result<u64, Fault> {
    let scope = |part: usize| column(rows, |row| scope_columns(&row.webhook.scope)[part]);
    let secrets = column(rows, |row| secret_columns(&row.webhook));
    let suspensions = column(rows, |row| row.webhook.health.suspension);
    let waits = column(rows, |row| row.webhook.health.retry_after);
    tx.change(
        &INSERT,
        &[
            &column(rows, |row| row.webhook.id.uuid()),
            &column(rows, |row| row.webhook.organization.uuid()),
            &scope(0),
            &scope(1),
            &scope(2),
            &column(rows, |row| row.webhook.name.as_str()),
            &column(rows, |row| row.webhook.display_name.as_str()),
            &column(rows, |row| row.webhook.payload_url.expose()),
            &column(rows, |row| row.webhook.active),
            &column(rows, |row| row.webhook.format.as_str()),
            &column(rows, |row| filters_column(&row.webhook.subscription)),
            &column(rows, |row| groups_column(&row.webhook.subscription)),
            &column(&secrets, |secret: &SecretColumns<'_>| secret.key.map(Id::uuid)),
            &column(&secrets, |secret| secret.bytes),
            &column(&secrets, |secret| secret.fingerprint.map(<[u8; 32]>::as_slice)),
            &column(&secrets, |secret| secret.previous_key.map(Id::uuid)),
            &column(&secrets, |secret| secret.previous_bytes),
            &column(&secrets, |secret| secret.previous_until),
            &column(rows, |row| row.webhook.standard_headers),
            &column(rows, |row| row.webhook.pace.map(Pace::attempts_per_minute).map(i64::from)),
            &column(rows, |row| row.webhook.pause_reason.as_ref().map(PauseReason::as_str)),
            &column(rows, |row| row.webhook.created_at.as_millis()),
            &column(rows, |row| integer(row.webhook.revision)),
            &column(rows, |row| i64::from(row.webhook.health.failures)),
            &column(rows, |row| row.webhook.health.failing_since.map(Timestamp::as_millis)),
            &column(&suspensions, |found: &Option<Suspension>| found.map(|found| found.since.as_millis())),
            &column(&suspensions, |found| found.map(|found| found.reason.as_str())),
            &column(&suspensions, |found| found.map(|found| found.probe_at.as_millis())),
            &column(rows, |row| row.webhook.health.hold_ended_at.map(Timestamp::as_millis)),
            &column(&waits, |found: &Option<RetryAfter>| found.map(|found| found.asked_at.as_millis())),
            &column(&waits, |found| found.map(|found| found.until.as_millis())),
            &column(rows, |row| row.deleted.as_ref().map(|(at, _)| at.as_millis())),
            &column(rows, |row| row.deleted.as_ref().map(|(_, by)| &**by)),
        ],
    )
    .await
}
