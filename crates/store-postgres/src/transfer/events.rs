//! Events in, and what a producer who comes again is answered.

use stackbell_model::filter::Filter;
use stackbell_store::history::StoredEvent;
use stackbell_store::rows::event::subject_columns;
use stackbell_store::rows::{Id, join};

use super::rows::{column, insert_counted};
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(INSERT_EVENTS = "/* import.events */ WITH new AS MATERIALIZED (SELECT o.number AS organization_number, new.* \
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
            $9::bytea[], $10::bigint[], $11::text[], $12::uuid[], $13::bigint[], $14::bytea[]) \
            AS new (key, organization, id, kind, filters, subject_kind, subject_project, subject_name, digest, \
            accepted_at, source, token, deliveries, payload) \
        JOIN organizations o ON o.id = new.organization), \
    ids AS (INSERT INTO event_ids (organization_number, id, key, digest, deliveries) \
        SELECT organization_number, id, key, digest, deliveries FROM new), \
    inserted AS (INSERT INTO events (key, organization_number, id, kind, filters, subject_kind, subject_project, \
        subject_name, digest, accepted_at, source, token, deliveries, payload) \
        SELECT key, organization_number, id, kind, filters, subject_kind, subject_project, subject_name, digest, \
            accepted_at, source, token, deliveries, payload FROM new \
        RETURNING organization_number, octet_length(payload) AS bytes) \
    SELECT organization_number, count(*), 0::bigint, sum(bytes)::bigint FROM inserted GROUP BY organization_number";
    UUID_ARRAY, UUID_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BYTEA_ARRAY,
    INT8_ARRAY, TEXT_ARRAY, UUID_ARRAY, INT8_ARRAY, BYTEA_ARRAY);

/// How many were inserted.
pub(super) async fn insert(tx: &Transaction, rows: &[StoredEvent]) -> Result<u64, Fault> {
    let subject = |part: usize| column(rows, |row| subject_columns(&row.event.subject)[part]);
    insert_counted(
        tx,
        &INSERT_EVENTS,
        &[
            &column(rows, |row| row.event.key.uuid()),
            &column(rows, |row| row.event.organization.uuid()),
            &column(rows, |row| row.event.id.uuid()),
            &column(rows, |row| row.event.kind.as_str()),
            &column(rows, |row| join(row.event.filters.iter().map(Filter::as_str))),
            &subject(0),
            &subject(1),
            &subject(2),
            &column(rows, |row| row.event.digest.as_ref().map(<[u8; 32]>::as_slice)),
            &column(rows, |row| row.event.accepted_at.as_millis()),
            &column(rows, |row| row.event.source.as_str()),
            &column(rows, |row| row.event.token.as_ref().map(Id::uuid)),
            &column(rows, |row| i64::from(row.deliveries)),
            &column(rows, |row| &*row.event.payload),
        ],
    )
    .await
}
