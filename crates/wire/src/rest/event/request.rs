//! Events as producers publish them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use stackbell_model::ids::EventId;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use stackbell_model::field::FieldError;

/// The length of a UUID in its usual form, with hyphens.
const UUID_CHARACTERS: usize = 36;

/// One event as it was sent. Kind and payload are validated later: see [`stackbell_payload::raw::read_event`].
#[derive(Clone, Debug)]
pub struct EventRequest<'a> {
    /// The event's kind, sent on as `Pulumi-Webhook-Kind`.
    pub kind: Cow<'a, str>,
    /// The payload, in the form of Pulumi's webhooks of this kind.
    pub payload: &'a RawValue,
    /// Any UUID, chosen by the producer. An event that is sent again with the same id is delivered only once.
    pub id: Option<EventId>,
}

/// Written by hand, because the derive does not support borrowed types.
impl PartialSchema for EventRequest<'_> {
    fn schema() -> RefOr<Schema> {
        let field = |kind, description| ObjectBuilder::new().schema_type(kind).description(Some(description));
        let id = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Any UUID. Sending the same event with it again delivers nothing twice."));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("kind", field(Type::String, "The event's kind, sent on as `Pulumi-Webhook-Kind`."))
            .required("kind")
            .property(
                "payload",
                field(Type::Object, "The payload, in the form of Pulumi's webhooks of this kind."),
            )
            .required("payload")
            .property("id", id.format(Some(SchemaFormat::Custom("uuid".to_owned()))))
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for EventRequest<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventRequest")
    }
}

/// A body with events: one object or an array of them.
#[derive(Clone, Debug)]
pub enum EventBody<'a> {
    /// One event.
    One(EventRequest<'a>),
    /// Several events, accepted or rejected together.
    Many(Vec<EventRequest<'a>>),
}

/// The reason why events cannot be read.
#[derive(Debug, thiserror::Error)]
pub struct EventRequestError {
    /// The index in the array, from 0.
    pub index: Option<usize>,
    /// The error.
    pub fault: EventRequestFault,
}

/// An error in an event.
#[derive(Debug, thiserror::Error)]
pub enum EventRequestFault {
    /// Not JSON, an unknown field, or a duplicate field.
    #[error("{0}")]
    Json(serde_json::Error),
    /// Neither an object nor, where allowed, an array.
    #[error("an event must be an object {{\"kind\", \"payload\", \"id\"}}")]
    NotAnObject,
    /// More events than are accepted together.
    #[error("at most {max} events may be sent in one array (the setting events_in_request_max)")]
    TooMany {
        /// The maximum number of events.
        max: usize,
    },
    /// A field is missing or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl EventRequestError {
    /// The field, for example `kind` or `[3].id`; `None` if the error is about no single field.
    pub fn path(&self) -> Option<String> {
        match (&self.fault, self.index) {
            (EventRequestFault::Field(error), Some(index)) => Some(format!("[{index}].{}", error.path())),
            (EventRequestFault::Field(error), None) => Some(error.path().to_owned()),
            (_, Some(index)) => Some(format!("[{index}]")),
            (_, None) => None,
        }
    }
}

impl fmt::Display for EventRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.fault, self.index) {
            (EventRequestFault::Field(_), Some(index)) => write!(f, "[{index}].{}", self.fault),
            (fault, Some(index)) => write!(f, "[{index}]: {fault}"),
            (fault, None) => fault.fmt(f),
        }
    }
}

impl From<EventRequestFault> for EventRequestError {
    fn from(fault: EventRequestFault) -> Self {
        Self { index: None, fault }
    }
}

/// Parses a body with one event or an array of at most `events_max` events.
///
/// # Errors
/// [`EventRequestError`].
pub fn read_body(text: &str, events_max: usize) -> Result<EventBody<'_>, EventRequestError> {
    if first_character(text) == Some('[') {
        read_array(text, events_max).map(EventBody::Many)
    } else {
        read_one(text).map(EventBody::One)
    }
}

/// Parses one event, from a body or a line of NDJSON.
///
/// # Errors
/// [`EventRequestError`], without an index.
pub fn read_one(text: &str) -> Result<EventRequest<'_>, EventRequestError> {
    Ok(Envelope::read(text)?.open()?)
}

/// Parses an array of at most `events_max` events; it may be empty.
///
/// # Errors
/// [`EventRequestError`]: with an index for the first event that is wrong, without an index for the array
/// itself.
pub fn read_array(text: &str, events_max: usize) -> Result<Vec<EventRequest<'_>>, EventRequestError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let items = Items { max: events_max }.deserialize(&mut json);
    let items = items.and_then(|items| json.end().map(|()| items)).map_err(EventRequestFault::Json)?;
    if items.len() > events_max {
        return Err(EventRequestFault::TooMany { max: events_max }.into());
    }
    items.into_iter().enumerate().map(|(index, item)| read_item(index, item)).collect()
}

fn read_item(index: usize, item: &RawValue) -> Result<EventRequest<'_>, EventRequestError> {
    let event = Envelope::read(item.get()).and_then(Envelope::open);
    event.map_err(|fault| EventRequestError { index: Some(index), fault })
}

/// The three fields, each as its JSON text, so that an error can name the field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<Self, EventRequestFault> {
        // Serde would read an array as the fields in order.
        if first_character(text).is_some_and(|first| first != '{') {
            return Err(EventRequestFault::NotAnObject);
        }
        serde_json::from_str(text).map_err(EventRequestFault::Json)
    }

    fn open(self) -> Result<EventRequest<'a>, EventRequestFault> {
        let kind = string("kind", self.kind.ok_or_else(|| FieldError::missing("kind"))?)?;
        let payload = self.payload.ok_or_else(|| FieldError::missing("payload"))?;
        let id = self.id.map(|id| event_id(&string("id", id)?)).transpose()?;
        Ok(EventRequest { kind, payload, id })
    }
}

fn first_character(text: &str) -> Option<char> {
    text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next()
}

fn string<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>, FieldError> {
    let text = value.get();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        // The only remaining error is half of a surrogate pair.
        Some(_) => serde_json::from_str(text)
            .map(Cow::Owned)
            .map_err(|_| FieldError::invalid(name, "must be Unicode")),
        None => Err(FieldError::invalid(name, "must be a string")),
    }
}

fn event_id(text: &str) -> Result<EventId, FieldError> {
    let uuid = if text.len() == UUID_CHARACTERS { Uuid::try_parse(text).ok() } else { None };
    let problem = "must be a UUID like c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    uuid.map(EventId::from_uuid).ok_or_else(|| FieldError::invalid("id", problem))
}

/// Items of an array, up to one more than allowed. This limits the memory that a hostile body can use.
#[derive(Clone, Copy)]
struct Items {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<&RawValue>()? {
            if items.len() <= self.max {
                items.push(item);
            }
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";

    fn show(event: &EventRequest<'_>) -> String {
        let id = event.id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        format!("{} {} {id}", event.kind, event.payload.get())
    }

    fn check_one(text: &str, expected: Result<&str, &str>) {
        let actual = read_one(text).map(|event| show(&event)).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn one_event() {
        check_one(r#" {"kind":"stack", "payload": { "a" : 1 } } "#, Ok(r#"stack { "a" : 1 } none"#));
        let upper = ID.to_uppercase();
        check_one(&format!(r#"{{"id":"{upper}","payload":[],"kind":"\u0061"}}"#), Ok(&format!("a [] {ID}")));
        check_one(r#"{"kind":"a","payload":{},"id":null}"#, Ok("a {} none"));
        check_one(r#"{"payload":{}}"#, Err("kind is required"));
        check_one(r#"{"kind":null,"payload":{}}"#, Err("kind is required"));
        check_one(r#"{"kind":3,"payload":{}}"#, Err("kind must be a string"));
        check_one(r#"{"kind":"\ud800","payload":{}}"#, Err("kind must be Unicode"));
        check_one(r#"{"kind":"a"}"#, Err("payload is required"));
        let no_uuid = Err("id must be a UUID like c64dd9a8-be18-4e6a-8208-2bb2efbbd13a");
        check_one(r#"{"kind":"a","payload":{},"id":"x"}"#, no_uuid);
        check_one(&format!(r#"{{"kind":"a","payload":{{}},"id":"{}"}}"#, ID.replace('-', "")), no_uuid);
        check_one(&format!(r#"{{"kind":"a","payload":{{}},"id":"{{{ID}}}"}}"#), no_uuid);
        check_one(r#"{"kind":"a","payload":{},"id":7}"#, Err("id must be a string"));
        let unknown = "unknown field `Id`, expected one of `kind`, `payload`, `id` at line 1 column 5";
        check_one(r#"{"Id":"a"}"#, Err(unknown));
        check_one(r#"{"kind":"a","kind":"b"}"#, Err("duplicate field `kind` at line 1 column 18"));
        check_one(r#"["a",{}]"#, Err(r#"an event must be an object {"kind", "payload", "id"}"#));
        check_one("", Err("EOF while parsing a value at line 1 column 0"));
    }

    fn check_array(text: &str, expected: Result<&[&str], (Option<&str>, &str)>) {
        let actual = read_array(text, 1000)
            .map(|events| events.iter().map(show).collect::<Vec<_>>())
            .map_err(|error| (error.path(), error.to_string()));
        let expected = expected
            .map(|events| events.iter().map(|event| (*event).to_owned()).collect())
            .map_err(|(path, text)| (path.map(str::to_owned), text.to_owned()));
        assert_eq!(actual, expected, "{text}");
    }

    #[test]
    fn arrays() {
        check_array("[]", Ok(&[]));
        let two = r#"[{"kind":"a","payload":{}},{"kind":"b","payload":{}}]"#;
        check_array(two, Ok(&["a {} none", "b {} none"]));
        let second = r#"[{"kind":"a","payload":{}},{"kind":1,"payload":{}}]"#;
        check_array(second, Err((Some("[1].kind"), "[1].kind must be a string")));
        let object = r#"an event must be an object {"kind", "payload", "id"}"#;
        check_array("[1]", Err((Some("[0]"), &format!("[0]: {object}"))));
        check_array("[", Err((None, "EOF while parsing a list at line 1 column 1")));
        let many = |count| format!("[{}]", vec![r#"{"kind":"a","payload":{}}"#; count].join(","));
        assert_eq!(read_array(&many(1000), 1000).map(|events| events.len()).ok(), Some(1000));
        let too_many =
            Err((None, "at most 1000 events may be sent in one array (the setting events_in_request_max)"));
        check_array(&many(1001), too_many);
    }

    #[test]
    fn bodies_are_distinguished() {
        assert!(matches!(read_body(" \n[]", 1), Ok(EventBody::Many(events)) if events.is_empty()));
        assert!(matches!(read_body(r#" {"kind":"a","payload":1}"#, 1), Ok(EventBody::One(_))));
    }

    #[test]
    fn the_schema_is_closed() {
        let schema = serde_json::to_value(EventRequest::schema()).expect("plain data");
        assert_eq!(schema["required"], serde_json::json!(["kind", "payload"]));
        assert_eq!(schema["properties"]["id"]["format"], "uuid");
        assert_eq!(schema["additionalProperties"], false);
    }
}
