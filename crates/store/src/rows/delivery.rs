//! Deliveries.

use crate::history::StoredDelivery;
use stackbell_model::delivery::{CancelReason, Delivery, FailReason, State, Trigger};
use stackbell_model::filter::EventKind;
use stackbell_model::webhook::Format;

use super::Columns;

/// The columns of `deliveries d`, its `webhooks w`, their `organizations o` and, except for pings, its
/// `events e`.
/// The event's payload is read only if the delivery has no bytes of its own.
#[macro_export]
macro_rules! delivery_columns {
    () => {
        "d.id, o.id, w.id, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
         d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, d.body, \
         e.key, e.id, e.kind, CASE WHEN d.body IS NULL THEN e.payload END"
    };
}

/// Reads a delivery with its payload: `id`, the ids of its organization and its webhook, `ping_id` to `body`,
/// and its event's `key`, `id`, `kind` and, if the delivery has no bytes of its own, `payload`.
///
/// # Errors
/// If the row is not valid.
pub fn read_delivery<'row, C: Columns<'row>>(cursor: &mut C) -> Result<StoredDelivery, C::Fault> {
    cursor.enter("deliveries");
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let webhook = cursor.id("webhook_number")?;
    let ping_id = cursor.id_or_null("ping_id")?;
    let format = cursor.word("format", Format::parse)?;
    let created_at = cursor.time("created_at")?;
    let rearmed_at = cursor.time_or_null("rearmed_at")?;
    let attempts_spent = cursor.number("attempts_spent")?;
    let state = read_state(cursor)?;
    let body = cursor.decompressed_or_null("body")?;
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
    let payload = match (&body, cursor.decompressed_or_null("event_number")?) {
        (Some(own), _) => own.clone(),
        (None, Some(of_event)) => of_event,
        (None, None) => return Err(cursor.fault("body", &"neither the delivery nor its event has a payload")),
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

fn skip_event<'row, C: Columns<'row>>(cursor: &mut C) -> Result<(), C::Fault> {
    for _ in 0..3 {
        cursor.skip("event_number")?;
    }
    Ok(())
}

/// Reads the columns `state` to `cancelled_by`.
pub fn read_state<'row, C: Columns<'row>>(cursor: &mut C) -> Result<State, C::Fault> {
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

/// The columns of a state: `state` to `cancelled_by`.
#[derive(Default)]
pub struct StateColumns<'state> {
    /// The text form of the state.
    pub state: &'static str,
    /// When it is due.
    pub due_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// The reason for a failure.
    pub fail_reason: Option<&'static str>,
    /// The reason for a cancellation.
    pub cancel_reason: Option<&'static str>,
    /// The actor of a cancellation.
    pub cancelled_by: Option<&'state str>,
}

/// Splits a state into its columns.
pub fn state_columns(state: &State) -> StateColumns<'_> {
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
