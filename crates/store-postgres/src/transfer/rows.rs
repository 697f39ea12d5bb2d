//! Rows in, many in one statement.

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, State};
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::identity::{Membership, TokenOwner, User};
use stackbell_model::secret::SealedDataKey;
use stackbell_store::audit::AuditRecord;
use stackbell_store::rows::attempt::{OutcomeColumns, outcome_columns};
use stackbell_store::rows::delivery::{StateColumns, state_columns};
use stackbell_store::rows::{Columns as _, Id, integer, join, milliseconds};
use stackbell_store::transfer::Rows;
use stackbell_store::transfer::digest::ended_at;
use stackbell_store::transfer::rows::{
    CopiedAttempt, CopiedCursor, CopiedDelivery, CopiedOrganization, CopiedRecovery, CopiedTally,
    CopiedToken, DeliverySubject,
};
use uuid::Uuid;

use super::{events, webhooks};
use crate::error::Fault;
use crate::ledger::Ledger;
use crate::session::Transaction;
use crate::statement::{Statement, statement};

statement!(INSERT_ORGANIZATIONS = "/* import.organizations */ INSERT INTO organizations \
    (id, name, display_name, avatar_url, created_at, version) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])";
    UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY);

statement!(INSERT_USERS = "/* import.users */ INSERT INTO users \
    (id, login, name, email, avatar_url, is_operator, created_at) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bigint[])";
    UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BOOL_ARRAY, INT8_ARRAY);

statement!(INSERT_MEMBERSHIPS = "/* import.memberships */ INSERT INTO memberships \
    (organization_number, user_number, role) SELECT o.number, u.number, new.role \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS new (organization, member, role) \
    JOIN organizations o ON o.id = new.organization JOIN users u ON u.id = new.member";
    UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY);

// One without an owner would break a rule of the table.
statement!(INSERT_TOKENS = "/* import.tokens */ INSERT INTO tokens \
    (id, hash, user_number, organization_number, name, role, is_operator, created_at, expires_at, last_used_at) \
    SELECT new.id, hash, u.number, o.number, new.name, role, new.is_operator, new.created_at, expires_at, last_used_at \
    FROM unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::boolean[], $8::bigint[], \
        $9::bigint[], $10::bigint[]) AS new (id, hash, owner, organization, name, role, is_operator, created_at, \
        expires_at, last_used_at) \
    LEFT JOIN users u ON u.id = new.owner LEFT JOIN organizations o ON o.id = new.organization";
    UUID_ARRAY, BYTEA_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BOOL_ARRAY, INT8_ARRAY, INT8_ARRAY,
    INT8_ARRAY);

statement!(INSERT_DATA_KEYS = "/* import.data_keys */ INSERT INTO data_keys (id, purpose, bytes, created_at) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[])";
    UUID_ARRAY, TEXT_ARRAY, BYTEA_ARRAY, INT8_ARRAY);

statement!(INSERT_CREDENTIALS = "/* import.deployments_credentials */ INSERT INTO deployments_credentials \
    (organization_number, api_url, token_key, token, stacks, set_at) \
    SELECT o.number, api_url, token_key, token, stacks, set_at \
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bytea[], $5::text[], $6::bigint[]) \
        AS new (organization, api_url, token_key, token, stacks, set_at) \
    JOIN organizations o ON o.id = new.organization";
    UUID_ARRAY, TEXT_ARRAY, UUID_ARRAY, BYTEA_ARRAY, TEXT_ARRAY, INT8_ARRAY);

statement!(INSERT_CURSORS = "/* import.source_cursors */ INSERT INTO source_cursors (organization_number, source, cursor) \
    SELECT o.number, source, cursor FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS new (organization, source, cursor) \
    JOIN organizations o ON o.id = new.organization"; UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY);

// Into the queue or into their days, and nobody has them.
statement!(INSERT_DELIVERIES = "/* import.deliveries */ WITH inserted AS (INSERT INTO deliveries \
        (id, organization_number, webhook_number, event_key, ping_id, format, created_at, rearmed_at, attempts_spent, \
        state, due_at, finished_at, fail_reason, cancel_reason, cancelled_by, body) \
        SELECT new.id, w.organization_number, w.number, event_key, ping_id, new.format, new.created_at, rearmed_at, \
            attempts_spent, state, due_at, finished_at, fail_reason, cancel_reason, cancelled_by, body \
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], \
            $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], \
            $15::bytea[]) AS new (id, webhook, event_key, ping_id, format, created_at, rearmed_at, attempts_spent, \
            state, due_at, finished_at, fail_reason, cancel_reason, cancelled_by, body) \
        JOIN webhooks w ON w.id = new.webhook \
        RETURNING organization_number, state, octet_length(body) AS bytes) \
    SELECT organization_number, count(*), count(*) FILTER (WHERE state = 'pending'), coalesce(sum(bytes), 0)::bigint \
    FROM inserted GROUP BY organization_number";
    UUID_ARRAY, UUID_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY,
    INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BYTEA_ARRAY);

// What is recorded later gets greater numbers.
statement!(INSERT_ATTEMPTS = "/* import.attempts */ WITH inserted AS (INSERT INTO attempts \
        (number, delivery_id, webhook_number, trigger, started_at, duration, request_url, request_headers, outcome, \
        status, retry_after, response_headers, response_body, silence, text) \
        SELECT new.number, delivery_id, w.number, trigger, started_at, duration, request_url, request_headers, outcome, \
            status, retry_after, response_headers, response_body, silence, text \
        FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], \
            $8::bytea[], $9::text[], $10::bigint[], $11::bigint[], $12::bytea[], $13::bytea[], $14::text[], \
            $15::text[]) AS new (number, delivery_id, webhook, trigger, started_at, duration, request_url, \
            request_headers, outcome, status, retry_after, response_headers, response_body, silence, text) \
        JOIN webhooks w ON w.id = new.webhook \
        RETURNING number, webhook_number, octet_length(request_headers) + coalesce(octet_length(response_headers), 0) \
            + coalesce(octet_length(response_body), 0) AS bytes), \
    numbered AS (SELECT setval('attempt_numbers', max(number)) AS last FROM inserted) \
    SELECT w.organization_number, count(*), 0::bigint, sum(bytes)::bigint \
    FROM inserted JOIN webhooks w ON w.number = inserted.webhook_number CROSS JOIN numbered WHERE numbered.last > 0 \
    GROUP BY w.organization_number";
    INT8_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY, BYTEA_ARRAY, TEXT_ARRAY,
    INT8_ARRAY, INT8_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, TEXT_ARRAY, TEXT_ARRAY);

// Before the first delivery it is at the least id.
statement!(INSERT_RECOVERIES = "/* import.recoveries */ INSERT INTO recoveries \
    (id, organization_number, webhook, since, created_at, created_by, total, rearmed, after_created_at, after_id, state, \
    ended_at) \
    SELECT new.id, o.number, webhook, since, new.created_at, created_by, total, rearmed, after_created_at, after_id, \
        state, ended_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], \
        $9::bigint[], $10::uuid[], $11::text[], $12::bigint[]) AS new (id, organization, webhook, since, created_at, \
        created_by, total, rearmed, after_created_at, after_id, state, ended_at) \
    JOIN organizations o ON o.id = new.organization";
    UUID_ARRAY, UUID_ARRAY, UUID_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY,
    UUID_ARRAY, TEXT_ARRAY, INT8_ARRAY);

statement!(INSERT_TALLIES = "/* import.tallies */ INSERT INTO tallies (hour, organization_number, webhook_number, slot, \
    events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    SELECT hour, o.number, coalesce(w.number, 0), 0, events, made, succeeded, failed, cancelled, attempts, \
        attempts_failed, attempts_took \
    FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], \
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) AS new (hour, organization, webhook, events, made, \
        succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    JOIN organizations o ON o.id = new.organization LEFT JOIN webhooks w ON w.id = new.webhook \
    WHERE new.webhook IS NULL OR w.number IS NOT NULL";
    INT8_ARRAY, UUID_ARRAY, UUID_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY,
    INT8_ARRAY, INT8_ARRAY);

statement!(INSERT_AUDIT = "/* import.audit */ INSERT INTO audit \
    (id, at, organization, actor, token, remote, action, target, fields) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], \
        $8::text[], $9::text[])";
    UUID_ARRAY, INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY);

/// Inserts all of them.
pub(super) async fn insert(tx: &Transaction, rows: &Rows) -> Result<(), Fault> {
    let inserted = match rows {
        Rows::Organizations(rows) => organizations(tx, rows).await?,
        Rows::Users(rows) => users(tx, rows).await?,
        Rows::Memberships(rows) => memberships(tx, rows).await?,
        Rows::Tokens(rows) => tokens(tx, rows).await?,
        Rows::DataKeys(rows) => data_keys(tx, rows).await?,
        Rows::DeploymentsCredentials(rows) => credentials(tx, rows).await?,
        Rows::SourceCursors(rows) => cursors(tx, rows).await?,
        Rows::Webhooks(rows) => webhooks::insert(tx, rows).await?,
        Rows::Events(rows) => events::insert(tx, rows).await?,
        Rows::Deliveries(rows) => deliveries(tx, rows).await?,
        Rows::Attempts(rows) => attempts(tx, rows).await?,
        Rows::Recoveries(rows) => recoveries(tx, rows).await?,
        Rows::Tallies(rows) => tallies(tx, rows).await?,
        Rows::Audit(rows) => audit(tx, rows).await?,
    };
    if inserted == rows.len() as u64 {
        return Ok(());
    }
    // Of what they refer to, something did not come before them.
    Err(Fault::missing(rows.noun().as_str(), &"of an organization, a user or a webhook"))
}

/// A column of rows.
pub(super) fn column<'rows, R, T>(rows: &'rows [R], of: impl Fn(&'rows R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Inserts rows whose bytes and numbers organizations are counted for; how many. The statement answers for each organization
/// its number, how many there are, how many are pending, and their bytes.
pub(super) async fn insert_counted(
    tx: &Transaction,
    statement: &Statement,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, Fault> {
    let counted = tx.list(statement, parameters, "organizations", |cursor| {
        let organization = cursor.integer("number")?;
        Ok((
            organization,
            cursor.count("number")?,
            cursor.integer("pending")?,
            cursor.integer("stored_bytes")?,
        ))
    });
    let (mut ledger, mut inserted) = (Ledger::default(), 0);
    for (organization, rows, pending, stored_bytes) in counted.await? {
        ledger.pending(organization, pending);
        ledger.stored(organization, stored_bytes);
        inserted += rows;
    }
    ledger.write(tx).await?;
    Ok(inserted)
}

async fn organizations(tx: &Transaction, rows: &[CopiedOrganization]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_ORGANIZATIONS,
        &[
            &column(rows, |row| row.organization.id.uuid()),
            &column(rows, |row| row.organization.name.as_str()),
            &column(rows, |row| row.organization.display_name.as_str()),
            &column(rows, |row| &*row.organization.avatar_url),
            &column(rows, |row| row.organization.created_at.as_millis()),
            &column(rows, |row| integer(row.version)),
        ],
    )
    .await
}

async fn users(tx: &Transaction, rows: &[User]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_USERS,
        &[
            &column(rows, |user| user.id.uuid()),
            &column(rows, |user| user.login.as_str()),
            &column(rows, |user| user.name.as_str()),
            &column(rows, |user| &*user.email),
            &column(rows, |user| &*user.avatar_url),
            &column(rows, |user| user.is_operator),
            &column(rows, |user| user.created_at.as_millis()),
        ],
    )
    .await
}

async fn memberships(tx: &Transaction, rows: &[Membership]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_MEMBERSHIPS,
        &[
            &column(rows, |membership| membership.organization.uuid()),
            &column(rows, |membership| membership.user.uuid()),
            &column(rows, |membership| membership.role.as_str()),
        ],
    )
    .await
}

async fn tokens(tx: &Transaction, rows: &[CopiedToken]) -> Result<u64, Fault> {
    let user = |owner| match owner {
        TokenOwner::User(user) => Some(user.uuid()),
        TokenOwner::Organization(_) => None,
    };
    let organization = |owner| match owner {
        TokenOwner::User(_) => None,
        TokenOwner::Organization(organization) => Some(organization.uuid()),
    };
    tx.change(
        &INSERT_TOKENS,
        &[
            &column(rows, |row| row.token.id.uuid()),
            &column(rows, |row| row.hash.0.as_slice()),
            &column(rows, |row| user(row.token.owner)),
            &column(rows, |row| organization(row.token.owner)),
            &column(rows, |row| row.token.name.as_str()),
            &column(rows, |row| row.token.role.as_str()),
            &column(rows, |row| row.token.is_operator),
            &column(rows, |row| row.token.created_at.as_millis()),
            &column(rows, |row| row.token.expires_at.map(Timestamp::as_millis)),
            &column(rows, |row| row.token.last_used_at.map(Timestamp::as_millis)),
        ],
    )
    .await
}

async fn data_keys(tx: &Transaction, rows: &[SealedDataKey]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_DATA_KEYS,
        &[
            &column(rows, |key| key.id.uuid()),
            &column(rows, |key| key.purpose.as_str()),
            &column(rows, |key| &*key.bytes),
            &column(rows, |key| key.created_at.as_millis()),
        ],
    )
    .await
}

async fn credentials(tx: &Transaction, rows: &[DeploymentsCredential]) -> Result<u64, Fault> {
    let stacks = |credential: &DeploymentsCredential| {
        let stacks: Vec<String> = credential.stacks.iter().map(ToString::to_string).collect();
        join(stacks.iter().map(String::as_str))
    };
    tx.change(
        &INSERT_CREDENTIALS,
        &[
            &column(rows, |credential| credential.organization.uuid()),
            &column(rows, |credential| credential.api_url.as_str()),
            &column(rows, |credential| credential.token.key.uuid()),
            &column(rows, |credential| &*credential.token.bytes),
            &column(rows, stacks),
            &column(rows, |credential| credential.set_at.as_millis()),
        ],
    )
    .await
}

async fn cursors(tx: &Transaction, rows: &[CopiedCursor]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_CURSORS,
        &[
            &column(rows, |row| row.organization.uuid()),
            &column(rows, |row| row.source.uuid()),
            &column(rows, |row| row.cursor.as_str()),
        ],
    )
    .await
}

async fn deliveries(tx: &Transaction, rows: &[CopiedDelivery]) -> Result<u64, Fault> {
    let event = |subject| match subject {
        DeliverySubject::Event(key) => Some(key.uuid()),
        DeliverySubject::Ping(_) => None,
    };
    let ping = |subject| match subject {
        DeliverySubject::Event(_) => None,
        DeliverySubject::Ping(id) => Some(id.uuid()),
    };
    let states = column(rows, |row| state_columns(&row.state));
    insert_counted(
        tx,
        &INSERT_DELIVERIES,
        &[
            &column(rows, |row| row.id.uuid()),
            &column(rows, |row| row.webhook.uuid()),
            &column(rows, |row| event(row.subject)),
            &column(rows, |row| ping(row.subject)),
            &column(rows, |row| row.format.as_str()),
            &column(rows, |row| row.created_at.as_millis()),
            &column(rows, |row| row.rearmed_at.map(Timestamp::as_millis)),
            &column(rows, |row| i64::from(row.attempts_spent)),
            &column(rows, |row| State::as_str(&row.state)),
            &column(&states, |state: &StateColumns<'_>| state.due_at),
            &column(&states, |state| state.finished_at),
            &column(&states, |state| state.fail_reason),
            &column(&states, |state| state.cancel_reason),
            &column(&states, |state| state.cancelled_by),
            &column(rows, |row| row.body.as_deref()),
        ],
    )
    .await
}

async fn attempts(tx: &Transaction, rows: &[CopiedAttempt]) -> Result<u64, Fault> {
    let outcomes = column(rows, |row| outcome_columns(&row.attempt.outcome));
    let answers = column(&outcomes, |outcome: &OutcomeColumns<'_>| outcome.answer);
    insert_counted(
        tx,
        &INSERT_ATTEMPTS,
        &[
            &column(rows, |row| row.number),
            &column(rows, |row| row.delivery.uuid()),
            &column(rows, |row| row.webhook.uuid()),
            &column(rows, |row| AttemptTrigger::as_str(row.attempt.trigger)),
            &column(rows, |row| row.attempt.started_at.as_millis()),
            &column(rows, |row| milliseconds(row.attempt.duration)),
            &column(rows, |row| &*row.attempt.request_url),
            &column(rows, |row| row.attempt.request_headers.as_bytes()),
            &column(&outcomes, |outcome| outcome.outcome),
            &column(&answers, |answer| answer.map(|answer| i64::from(answer.status))),
            &column(&answers, |answer| answer.and_then(|answer| answer.retry_after).map(milliseconds)),
            &column(&answers, |answer| answer.map(|answer| answer.headers.as_bytes())),
            &column(&answers, |answer| answer.map(|answer| answer.body.as_bytes())),
            &column(&outcomes, |outcome| outcome.silence),
            &column(&outcomes, |outcome| outcome.text),
        ],
    )
    .await
}

async fn recoveries(tx: &Transaction, rows: &[CopiedRecovery]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_RECOVERIES,
        &[
            &column(rows, |row| row.recovery.id.uuid()),
            &column(rows, |row| row.recovery.organization.uuid()),
            &column(rows, |row| row.recovery.webhook.uuid()),
            &column(rows, |row| row.recovery.since.as_millis()),
            &column(rows, |row| row.recovery.created_at.as_millis()),
            &column(rows, |row| &*row.recovery.created_by),
            &column(rows, |row| integer(row.recovery.total)),
            &column(rows, |row| integer(row.recovery.rearmed)),
            &column(rows, |row| row.after_created_at.as_millis()),
            &column(rows, |row| row.after.map_or(Uuid::nil(), |after| after.uuid())),
            &column(rows, |row| row.recovery.state.as_str()),
            &column(rows, |row| ended_at(row.recovery.state).map(Timestamp::as_millis)),
        ],
    )
    .await
}

async fn tallies(tx: &Transaction, rows: &[CopiedTally]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_TALLIES,
        &[
            &column(rows, |row| row.hour.as_millis()),
            &column(rows, |row| row.organization.uuid()),
            &column(rows, |row| row.webhook.as_ref().map(Id::uuid)),
            &column(rows, |row| integer(row.tally.events)),
            &column(rows, |row| integer(row.tally.made)),
            &column(rows, |row| integer(row.tally.succeeded)),
            &column(rows, |row| integer(row.tally.failed)),
            &column(rows, |row| integer(row.tally.cancelled)),
            &column(rows, |row| integer(row.tally.attempts)),
            &column(rows, |row| integer(row.tally.attempts_failed)),
            &column(rows, |row| milliseconds(row.tally.attempts_took)),
        ],
    )
    .await
}

async fn audit(tx: &Transaction, rows: &[AuditRecord]) -> Result<u64, Fault> {
    tx.change(
        &INSERT_AUDIT,
        &[
            &column(rows, |entry| entry.id.uuid()),
            &column(rows, |entry| entry.at.as_millis()),
            &column(rows, |entry| entry.organization.as_ref().map(Id::uuid)),
            &column(rows, |entry| &*entry.actor),
            &column(rows, |entry| entry.token.as_ref().map(Id::uuid)),
            &column(rows, |entry| entry.remote.as_deref()),
            &column(rows, |entry| &*entry.action),
            &column(rows, |entry| &*entry.target),
            &column(rows, |entry| join(entry.fields.iter().map(String::as_str))),
        ],
    )
    .await
}
