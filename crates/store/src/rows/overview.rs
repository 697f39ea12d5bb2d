//! Deliveries without their payload.

use crate::history::{DeliveryOverview, LastAttempt};
use stackbell_model::delivery::Trigger;
use stackbell_model::filter::EventKind;
use stackbell_model::names::WebhookName;
use stackbell_model::teams::TeamsError;
use stackbell_model::webhook::Format;

use super::Columns;
use super::delivery::read_state;
use super::event::read_subject;
use super::webhook::read_scope;

/// Reads a delivery without its payload: its own columns, then its webhook, the number of attempts, the last
/// attempt, and its event.
///
/// # Errors
/// If the row is not valid.
pub fn read_overview<'row, C: Columns<'row>>(cursor: &mut C) -> Result<DeliveryOverview, C::Fault> {
    cursor.enter("deliveries");
    let id = cursor.id("id")?;
    let format = cursor.word("format", Format::parse)?;
    let created_at = cursor.time("created_at")?;
    let rearmed_at = cursor.time_or_null("rearmed_at")?;
    let attempts_spent = cursor.number("attempts_spent")?;
    let state = read_state(cursor)?;
    let webhook = cursor.id("webhook_number")?;
    let webhook_scope = read_scope(cursor)?;
    let webhook_name = cursor.parsed("webhook_number", WebhookName::parse)?;
    let is_webhook_deleted = cursor.flag("webhook_number")?;
    let attempts = cursor.number("number")?;
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

fn read_last_attempt<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Option<LastAttempt>, C::Fault> {
    let started_at = cursor.time_or_null("started_at")?;
    let duration = cursor.duration_or_null("duration")?;
    let status = cursor.number_or_null("status")?;
    let text = cursor.text_or_null("text")?.map(Into::into);
    let error_body = cursor.decompressed_text("response_body")?;
    let reason = text.or_else(|| error_body.map(|body| TeamsError::reason_in(&body)));
    let status = status.unwrap_or_default();
    Ok(started_at.zip(duration).map(|(started_at, duration)| LastAttempt {
        started_at,
        duration,
        status,
        reason,
    }))
}
