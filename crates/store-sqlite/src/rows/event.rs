//! Events.

use rusqlite::{Statement, params};
use stackbell_model::event::Event;
use stackbell_model::filter::Filter;

use crate::rows::compression::{compress, size};
use stackbell_store::rows::event::subject_columns;
use stackbell_store::rows::{Id, join};

/// Inserts nothing if the organization has an event with this id.
pub(crate) const INSERT_EVENT: &str = "/* insert_event */ INSERT INTO events \
    (organization_number, key, id, kind, filters, subject_kind, subject_project, subject_name, digest, \
     accepted_at, source, token, deliveries, deliveries_left, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14) \
    ON CONFLICT (organization_number, id) DO NOTHING";

/// Inserts an event through [`INSERT_EVENT`]. Returns the number of stored bytes; `None` if nothing was inserted.
pub(crate) fn insert_event(
    statement: &mut Statement<'_>,
    organization_number: i64,
    event: &Event,
    deliveries: u32,
) -> Result<Option<i64>, rusqlite::Error> {
    let [subject_kind, subject_project, subject_name] = subject_columns(&event.subject);
    let payload = compress(&event.payload);
    let changed = statement.execute(params![
        organization_number,
        event.key.bytes(),
        event.id.bytes(),
        event.kind.as_str(),
        join(event.filters.iter().map(Filter::as_str)),
        subject_kind,
        subject_project,
        subject_name,
        event.digest,
        event.accepted_at.as_millis(),
        event.source.as_str(),
        event.token.as_ref().map(Id::bytes),
        deliveries,
        payload,
    ])?;
    Ok((changed == 1).then_some(size(&payload)))
}
