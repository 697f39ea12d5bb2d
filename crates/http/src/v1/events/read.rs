//! Decodes events.

use serde::de::IgnoredAny;
use stackbell_app::intake::{Intake, NewEvent, SentEvent};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::NDJSON;
use stackbell_model::field::Problem;
use stackbell_wire::rest::error::ErrorType;
use stackbell_wire::rest::event::{
    EventBody, EventRequest, EventRequestError, EventRequestFault, read_body, read_one,
};

use super::EVENT;
use crate::Limits;

/// The events of a body.
pub(super) enum NewEvents {
    One(NewEvent),
    Many(Vec<NewEvent>),
}

/// Reads a body: one event or an array of them.
///
/// # Errors
/// 400 for the first invalid event, with its index and field.
pub(super) fn read_events(text: &str, intake: &Intake<'_>, limits: Limits) -> Result<NewEvents, HttpError> {
    match read_body(text, limits.events_in_request_max).map_err(|error| refuse_body(text, &error))? {
        EventBody::One(event) => intake.read(sent(&event)).map(NewEvents::One),
        EventBody::Many(events) => {
            let read = |(index, event)| intake.read(sent(event)).map_err(|error| error.of_event(index));
            events.iter().enumerate().map(read).collect::<Result<_, _>>().map(NewEvents::Many)
        }
    }
    .map_err(about(EVENT))
}

/// Reads one event.
///
/// # Errors
/// 400, with the field.
pub(super) fn read_event_alone(
    text: &str,
    intake: &Intake<'_>,
    _limits: Limits,
) -> Result<NewEvent, HttpError> {
    let event = read_one(text).map_err(|error| refuse_request(&error))?;
    intake.read(sent(&event)).map_err(about(EVENT))
}

fn sent<'a>(event: &'a EventRequest<'_>) -> SentEvent<'a> {
    SentEvent { id: event.id, kind: &event.kind, payload: event.payload.get() }
}

/// Refuses a whole body, which may be NDJSON under another media type.
fn refuse_body(text: &str, error: &EventRequestError) -> HttpError {
    let refusal = refuse_request(error);
    match error.fault {
        EventRequestFault::Json(_) if is_followed(text) => {
            refusal.explain(&format!("to send several events, use Content-Type: {NDJSON}, or send an array"))
        }
        _ => refusal,
    }
}

/// Whether there is text after the first JSON value.
fn is_followed(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next().is_some_and(|first| first.is_ok()) && !text[values.byte_offset()..].trim().is_empty()
}

fn refuse_request(error: &EventRequestError) -> HttpError {
    let error_type = match &error.fault {
        EventRequestFault::Field(field) => error_type(field.problem()),
        EventRequestFault::Json(_) | EventRequestFault::NotAnObject | EventRequestFault::TooMany { .. } => {
            ErrorType::Invalid
        }
    };
    let refusal = HttpError::bad_request(error.to_string());
    match error.path() {
        Some(path) => refusal.with(EVENT, &path, error_type),
        None => refusal,
    }
}

fn error_type(problem: &Problem) -> ErrorType {
    match problem {
        Problem::Missing => ErrorType::Required,
        Problem::Invalid(_) => ErrorType::Invalid,
    }
}
