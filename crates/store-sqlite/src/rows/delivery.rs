//! Deliveries.

use rusqlite::{Statement, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::Delivery;

use crate::rows::compression::{compress, size};
use stackbell_store::rows::Id;
use stackbell_store::rows::delivery::state_columns;

/// The tables of [`delivery_columns`].
macro_rules! delivery_tables {
    () => {
        " FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number \
         JOIN organizations o ON o.number = w.organization_number \
         LEFT JOIN events e ON e.number = d.event_number "
    };
}
pub(crate) use delivery_tables;

pub(crate) const INSERT_DELIVERY: &str = "/* insert_delivery */ INSERT INTO deliveries \
    (id, webhook_number, event_number, ping_id, format, created_at, rearmed_at, attempts_spent, state, due_at, \
     finished_at, fail_reason, cancel_reason, cancelled_by, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// Inserts a delivery through [`INSERT_DELIVERY`]. `event_number` is `None` for a ping. Returns the number of stored bytes.
pub(crate) fn insert_delivery(
    statement: &mut Statement<'_>,
    webhook_number: i64,
    event_number: Option<i64>,
    delivery: &Delivery,
) -> Result<i64, rusqlite::Error> {
    let body = delivery.body.as_deref().map(compress);
    let columns = state_columns(&delivery.state);
    let parameters = params![
        delivery.id.bytes(),
        webhook_number,
        event_number,
        event_number.is_none().then_some(delivery.event_id.bytes()),
        delivery.format.as_str(),
        delivery.created_at.as_millis(),
        delivery.rearmed_at.map(Timestamp::as_millis),
        delivery.attempts_spent,
        columns.state,
        columns.due_at,
        columns.finished_at,
        columns.fail_reason,
        columns.cancel_reason,
        columns.cancelled_by,
        body,
    ];
    statement.execute(parameters)?;
    Ok(body.as_deref().map_or(0, size))
}
