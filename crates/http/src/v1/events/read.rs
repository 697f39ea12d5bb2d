//! From what a producer sent to what the control plane accepts.

use serde::de::IgnoredAny;
use stackbell_app::events::{NewEvent, Publisher};
use stackbell_http_kit::error::HttpError;
use stackbell_wire::field::Problem;
use stackbell_wire::payload::raw::{Filling, PayloadError, read_event};
use stackbell_wire::rest::error::ErrorType;
use stackbell_wire::rest::event::{
    EventBody, EventRequest, EventRequestError, EventRequestFault, read_body, read_one,
};

use super::EVENT;
use super::publish::NDJSON;
use crate::Limits;

/// What a body held.
pub(super) enum NewEvents {
    One(NewEvent),
    Many(Vec<NewEvent>),
}

/// Reads a body: one event or an array of them.
///
/// # Errors
/// 400 about the first event that is wrong, naming its index and field.
pub(super) fn read_events(
    text: &str,
    publisher: &Publisher<'_>,
    limits: Limits,
) -> Result<NewEvents, HttpError> {
    let filling = filling(publisher);
    match read_body(text, limits.events_in_request_max).map_err(|error| refuse_body(text, &error))? {
        EventBody::One(event) => new_event(&event, None, &filling, limits).map(NewEvents::One),
        EventBody::Many(events) => {
            let read = |(index, event)| new_event(event, Some(index), &filling, limits);
            events.iter().enumerate().map(read).collect::<Result<_, _>>().map(NewEvents::Many)
        }
    }
}

/// Reads one event.
///
/// # Errors
/// 400, naming the field.
pub(super) fn read_event_alone(
    text: &str,
    publisher: &Publisher<'_>,
    limits: Limits,
) -> Result<NewEvent, HttpError> {
    let event = read_one(text).map_err(|error| refuse_request(&error))?;
    new_event(&event, None, &filling(publisher), limits)
}

fn filling<'a>(publisher: &'a Publisher<'_>) -> Filling<'a> {
    Filling { organization: publisher.organization().into(), user: publisher.user().map(Into::into) }
}

fn new_event(
    event: &EventRequest<'_>,
    index: Option<usize>,
    filling: &Filling<'_>,
    limits: Limits,
) -> Result<NewEvent, HttpError> {
    let classified = read_event(&event.kind, event.payload.get(), filling, limits.payload_bytes_max)
        .map_err(|error| refuse_payload(&error, index))?;
    Ok(NewEvent {
        id: event.id.map(|id| (id, classified.digest())),
        kind: classified.kind,
        filters: classified.filters,
        subject: classified.subject,
        payload: classified.payload,
    })
}

/// The same as [`refuse_request`] of a whole body, which may be lines that were sent under another name.
fn refuse_body(text: &str, error: &EventRequestError) -> HttpError {
    let refusal = refuse_request(error);
    match error.fault {
        EventRequestFault::Json(_) if is_followed(text) => refusal.explain(&format!(
            "to send one event after the other, say Content-Type: {NDJSON}, or send them as an array"
        )),
        _ => refusal,
    }
}

/// Whether there is something behind the first JSON value of a text.
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

fn refuse_payload(error: &PayloadError, index: Option<usize>) -> HttpError {
    let error_type = match error {
        PayloadError::Field(field) => error_type(field.problem()),
        PayloadError::Kind(_) | PayloadError::Json(_) | PayloadError::TooLarge { .. } => ErrorType::Invalid,
    };
    let at = index.map(|index| format!("[{index}].")).unwrap_or_default();
    HttpError::bad_request(format!("{at}{error}")).with(EVENT, &format!("{at}{}", error.path()), error_type)
}

fn error_type(problem: &Problem) -> ErrorType {
    match problem {
        Problem::Missing => ErrorType::Required,
        Problem::Invalid(_) => ErrorType::Invalid,
    }
}
