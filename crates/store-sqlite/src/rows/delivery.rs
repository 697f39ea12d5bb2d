//! Deliveries.

use rusqlite::{Statement, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{CancelReason, Delivery, FailReason, State, Trigger};
use stackbell_model::filter::EventKind;
use stackbell_model::webhook::Format;
use stackbell_store::history::StoredDelivery;

use crate::error::Fault;
use crate::rows::packed::{pack, size};
use crate::rows::{Cursor, Id};

/// Of `deliveries d`, its `webhooks w`, their `organizations o` and, for all but pings, its `events e`.
/// The event's payload is read only where the delivery has no bytes of its own.
macro_rules! delivery_columns {
    () => {
        "d.id, o.id, w.id, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
         d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, d.body, \
         e.key, e.id, e.kind, iif(d.body IS NULL, e.payload, NULL)"
    };
}
pub(crate) use delivery_columns;

/// What [`delivery_columns`] are of.
macro_rules! delivery_tables {
    () => {
        " FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number \
         JOIN organizations o ON o.number = w.organization_number \
         LEFT JOIN events e ON e.number = d.event_number "
    };
}
pub(crate) use delivery_tables;

pub(crate) fn read_delivery(cursor: &mut Cursor<'_>) -> Result<StoredDelivery, Fault> {
    cursor.enter("deliveries");
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let webhook = cursor.id("webhook_number")?;
    let ping_id = cursor.id_or_null("ping_id")?;
    let format = cursor.word("format", Format::parse)?;
    let created_at = cursor.time("created_at")?;
    let rearmed_at = cursor.time_or_null("rearmed_at")?;
    let attempts_spent = cursor.get("attempts_spent")?;
    let state = read_state(cursor)?;
    let body = cursor.unpacked_or_null("body")?;
    let (event_id, trigger) = match ping_id {
        Some(ping_id) => {
            skip_event(cursor)?;
            (ping_id, Trigger::Ping)
        }
        None => {
            let key = cursor.id("event_number")?;
            let event_id = cursor.id("event_number")?;
            (event_id, Trigger::Event { key, kind: cursor.word("event_number", EventKind::parse)? })
        }
    };
    let payload = match (&body, cursor.unpacked_or_null("event_number")?) {
        (Some(own), _) => own.clone(),
        (None, Some(of_event)) => of_event,
        (None, None) => return Err(cursor.fault("body", &"there are no bytes to send")),
    };
    let delivery = Delivery {
        id,
        organization,
        webhook,
        trigger,
        event_id,
        format,
        body,
        created_at,
        rearmed_at,
        attempts_spent,
        state,
    };
    Ok(StoredDelivery { delivery, payload })
}

fn skip_event(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    for _ in 0..3 {
        cursor.raw("event_number")?;
    }
    Ok(())
}

/// The columns `state` to `cancelled_by`.
pub(crate) fn read_state(cursor: &mut Cursor<'_>) -> Result<State, Fault> {
    let state = cursor.text("state")?;
    let due_at = cursor.time_or_null("due_at")?;
    let finished_at = cursor.time_or_null("finished_at")?;
    let failed = cursor.text_or_null("fail_reason")?.and_then(FailReason::parse);
    let cancelled = cursor.text_or_null("cancel_reason")?.and_then(CancelReason::parse);
    let cancelled = cancelled.zip(cursor.text_or_null("cancelled_by")?);
    match (state, due_at, finished_at, failed, cancelled) {
        ("pending", Some(due_at), None, None, None) => Ok(State::Pending { due_at }),
        ("succeeded", None, Some(at), None, None) => Ok(State::Succeeded { at }),
        ("failed", None, Some(at), Some(reason), None) => Ok(State::Failed { at, reason }),
        ("cancelled", None, Some(at), None, Some((reason, by))) => {
            Ok(State::Cancelled { at, reason, by: by.into() })
        }
        _ => Err(cursor.fault("state", &"does not go with the times, the reasons and the name beside it")),
    }
}

/// What becomes of a row when its delivery comes into a state: `due_at` to `cancelled_by`.
#[derive(Default)]
pub(crate) struct StateColumns<'state> {
    pub(crate) state: &'static str,
    pub(crate) due_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
    pub(crate) fail_reason: Option<&'static str>,
    pub(crate) cancel_reason: Option<&'static str>,
    pub(crate) cancelled_by: Option<&'state str>,
}

pub(crate) fn state_columns(state: &State) -> StateColumns<'_> {
    let none = StateColumns { state: state.as_str(), ..StateColumns::default() };
    match state {
        State::Pending { due_at } => StateColumns { due_at: Some(due_at.as_millis()), ..none },
        State::Succeeded { at } => StateColumns { finished_at: Some(at.as_millis()), ..none },
        State::Failed { at, reason } => {
            StateColumns { finished_at: Some(at.as_millis()), fail_reason: Some(reason.as_str()), ..none }
        }
        State::Cancelled { at, reason, by } => StateColumns {
            finished_at: Some(at.as_millis()),
            cancel_reason: Some(reason.as_str()),
            cancelled_by: Some(by),
            ..none
        },
    }
}

pub(crate) const INSERT_DELIVERY: &str = "/* insert_delivery */ INSERT INTO deliveries \
    (id, webhook_number, event_number, ping_id, format, created_at, rearmed_at, attempts_spent, state, due_at, \
     finished_at, fail_reason, cancel_reason, cancelled_by, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// Inserts a delivery through [`INSERT_DELIVERY`]; a ping has no event's number. Answers the bytes that it stored.
pub(crate) fn insert_delivery(
    statement: &mut Statement<'_>,
    webhook_number: i64,
    event_number: Option<i64>,
    delivery: &Delivery,
) -> Result<i64, rusqlite::Error> {
    let body = delivery.body.as_deref().map(pack);
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
