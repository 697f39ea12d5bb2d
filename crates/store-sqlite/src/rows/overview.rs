//! Deliveries without their bytes.

use std::time::Duration;

use stackbell_model::delivery::Trigger;
use stackbell_model::filter::EventKind;
use stackbell_model::names::WebhookName;
use stackbell_model::webhook::Format;
use stackbell_store::history::{DeliveryOverview, LastAttempt};

use crate::error::Fault;
use crate::rows::Cursor;
use crate::rows::delivery::read_state;
use crate::rows::event::read_subject;
use crate::rows::webhook::read_scope;

/// Of what [`overview_tables`] names.
macro_rules! overview_columns {
    () => {
        "d.id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
         d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, \
         w.id, w.scope_kind, w.scope_project, w.scope_name, w.name, w.deleted_at IS NOT NULL, \
         (SELECT COUNT(*) FROM attempts WHERE delivery_number = d.number), \
         a.started_at, a.duration, a.status, a.text, \
         d.ping_id, e.id, e.key, e.kind, e.subject_kind, e.subject_project, e.subject_name"
    };
}
pub(crate) use overview_columns;

/// A delivery has few attempts: finding the last takes a look at each.
macro_rules! overview_tables {
    () => {
        " FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number \
         LEFT JOIN events e ON e.number = d.event_number \
         LEFT JOIN attempts a ON a.number = (SELECT number FROM attempts \
             WHERE delivery_number = d.number ORDER BY started_at DESC, number DESC LIMIT 1) "
    };
}
pub(crate) use overview_tables;

pub(crate) fn read_overview(cursor: &mut Cursor<'_>) -> Result<DeliveryOverview, Fault> {
    cursor.enter("deliveries");
    let id = cursor.id("id")?;
    let format = cursor.word("format", Format::parse)?;
    let created_at = cursor.time("created_at")?;
    let rearmed_at = cursor.time_or_null("rearmed_at")?;
    let attempts_spent = cursor.get("attempts_spent")?;
    let state = read_state(cursor)?;
    let webhook = cursor.id("webhook_number")?;
    let webhook_scope = read_scope(cursor)?;
    let webhook_name = cursor.parsed("webhook_number", WebhookName::parse)?;
    let is_webhook_deleted = cursor.get("webhook_number")?;
    let attempts = cursor.get("number")?;
    let last_attempt = read_last_attempt(cursor)?;
    let (event_id, trigger, subject) = match cursor.id_or_null("ping_id")? {
        Some(ping_id) => (ping_id, Trigger::Ping, None),
        None => {
            let event_id = cursor.id("event_number")?;
            let key = cursor.id("event_number")?;
            let kind = cursor.word("event_number", EventKind::parse)?;
            (event_id, Trigger::Event { key, kind }, Some(read_subject(cursor)?))
        }
    };
    Ok(DeliveryOverview {
        id,
        webhook,
        webhook_scope,
        webhook_name,
        is_webhook_deleted,
        trigger,
        event_id,
        subject,
        format,
        created_at,
        rearmed_at,
        attempts_spent,
        state,
        attempts,
        last_attempt,
    })
}

fn read_last_attempt(cursor: &mut Cursor<'_>) -> Result<Option<LastAttempt>, Fault> {
    let started_at = cursor.time_or_null("started_at")?;
    let duration = cursor.count_or_null("duration")?;
    let status: Option<u16> = cursor.get("status")?;
    let text = cursor.text_or_null("text")?;
    Ok(started_at.zip(duration).map(|(started_at, duration)| LastAttempt {
        started_at,
        duration: Duration::from_millis(duration),
        status: status.unwrap_or_default(),
        text: text.map(Into::into),
    }))
}
