//! Properties that the parsers in this crate have for every input; see `stackbell_model::properties`.

use serde_json::Value as Tree;
use serde_json::value::RawValue;
use stackbell_model::Timestamp;
use stackbell_model::event::{Event, Source};
use stackbell_model::ids::{EventId, EventKey, OrganizationId};
use stackbell_model::secret::SecretChange;
use stackbell_model::webhook::Format;

use crate::payload::json::{CanonicalObject, Value};
use crate::payload::raw::{Classified, Filling, Party, read_event};
use crate::payload::render;
use crate::rest::body::BodyError;
use crate::rest::event::{EventBody, EventRequest, read_body, read_one};
use crate::rest::identity::{MemberRequest, OrganizationRequest, TokenRequest, UserRequest};
use crate::rest::operation::{DeploymentsRequest, HoldRequest, RecoveryRequest};
use crate::rest::overview::WebhookOptions;
use crate::rest::page::Cursor;
use crate::rest::webhook::WebhookRequest;
use crate::rest::{read_rfc3339, rfc3339};

/// The maximum size of a payload in these properties.
const BYTES_MAX: usize = 64 * 1024;

/// The maximum number of events in an array in these properties.
const EVENTS_MAX: usize = 8;

/// The maximum length of an error text. The path of the deepest nesting has this many names, each truncated;
/// a sentence follows.
const REFUSAL_BYTES_MAX: usize = 64 * 65 * 4 + 2048;

/// A canonical object is JSON, no longer than its input, and its canonical form is itself.
pub fn payload(text: &str) {
    let object = match CanonicalObject::read(text, BYTES_MAX) {
        Ok(object) => object,
        Err(error) => {
            assert!(error.to_string().len() <= REFUSAL_BYTES_MAX, "a refusal is short");
            return assert!(error.offset() <= text.len(), "a refusal is about a byte that was sent");
        }
    };
    let canonical = object.text();
    assert!(canonical.len() <= BYTES_MAX);
    // Only whole numbers may grow: `1e9` becomes seven bytes longer.
    assert!(text.contains(['e', 'E']) || canonical.len() <= text.len(), "{text} grew to {canonical}");
    assert!(serde_json::from_str::<&RawValue>(canonical).is_ok(), "{canonical} is JSON");
    let again = CanonicalObject::read(canonical, canonical.len()).expect("its own length is enough");
    assert_eq!(again, object, "the canonical form of the canonical form is itself");
    assert!(CanonicalObject::read(canonical, canonical.len() - 1).is_err(), "a limit is a limit");
    if let (Ok(sent), Ok(kept)) =
        (serde_json::from_str::<Tree>(text), serde_json::from_str::<Tree>(canonical))
    {
        assert!(same(&sent, &kept), "{text} means something else than {canonical}");
    }
    object.members().for_each(|(_, value)| walk(value));
}

/// Whether two trees have the same meaning; numbers are compared as f64.
fn same(left: &Tree, right: &Tree) -> bool {
    match (left, right) {
        (Tree::Number(left), Tree::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or_default(), right.as_f64().unwrap_or_default());
            (left - right).abs() <= left.abs() * 1e-12
        }
        (Tree::Array(left), Tree::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Tree::Object(left), Tree::Object(right)) => {
            let is_same = |(key, value)| right.get(key).is_some_and(|other| same(value, other));
            left.len() == right.len() && left.iter().all(is_same)
        }
        _ => left == right,
    }
}

/// The parts of a value, joined, equal the value.
fn walk(value: Value<'_>) {
    if let Some(members) = value.members() {
        let parts: Vec<String> =
            members.clone().map(|(key, value)| format!("\"{key}\":{}", value.raw())).collect();
        assert_eq!(format!("{{{}}}", parts.join(",")), value.raw());
        members.for_each(|(_, value)| walk(value));
    }
    if let Some(items) = value.items() {
        let parts: Vec<&str> = items.clone().map(Value::raw).collect();
        assert_eq!(format!("[{}]", parts.join(",")), value.raw());
        items.for_each(walk);
    }
    value.text();
}

/// An event, given as a line with its kind and then its payload. A canonical event is accepted again, keeps
/// its form and its meaning, and renders in every format.
pub fn event(text: &str) {
    let Some((kind, payload)) = text.split_once('\n') else { return };
    let party = |name| Party { name, login: "crazy-adventures", avatar_url: "https://a.example/\"b" };
    let filling = Filling { organization: party("Acme \\ Co"), user: Some(party("Morty\n")) };
    let read = |payload: &str| read_event(kind, payload, &filling, BYTES_MAX);
    let first = match read(payload) {
        Ok(first) => first,
        Err(error) => {
            return assert!(
                error.to_string().len() <= REFUSAL_BYTES_MAX && !error.path().is_empty(),
                "{error}"
            );
        }
    };
    assert!(first.payload.len() <= BYTES_MAX);
    let stored = std::str::from_utf8(&first.payload).expect("a text stays one");
    let again = read(stored).expect("what was filled in is accepted");
    let meaning =
        |event: &Classified| (event.kind, event.filters, event.subject.clone(), event.payload.clone());
    assert_eq!(meaning(&again), meaning(&first), "nothing is left to fill in");
    assert_eq!(kind, first.kind.as_str());
    messages(first);
}

fn messages(classified: Classified) {
    let payload = classified.payload.clone();
    let event = Event {
        key: EventKey::from_uuid(uuid::Uuid::nil()),
        id: EventId::from_uuid(uuid::Uuid::nil()),
        organization: OrganizationId::from_uuid(uuid::Uuid::nil()),
        kind: classified.kind,
        filters: classified.filters,
        subject: classified.subject,
        payload,
        digest: None,
        accepted_at: Timestamp::from_millis(0),
        source: Source::Api,
        token: None,
    };
    for format in Format::ALL {
        let body = render(*format, &event, None);
        assert_eq!(body, render(*format, &event, None), "the same event gives the same bytes");
        let Some(body) = body else { continue };
        assert!(body.len() < 512 * 1024, "{format:?}: {} bytes", body.len());
        serde_json::from_slice::<Tree>(&body).expect("a message is JSON");
    }
}

/// A body of events has no more events than allowed, and each parses alone as it did in the body.
pub fn event_body(text: &str) {
    let events = match read_body(text, EVENTS_MAX) {
        Ok(EventBody::One(event)) => vec![event],
        Ok(EventBody::Many(events)) => events,
        Err(error) => return assert!(error.to_string().len() <= REFUSAL_BYTES_MAX, "a refusal is short"),
    };
    assert!(events.len() <= EVENTS_MAX);
    for event in &events {
        let written = write(event);
        let alone = read_one(&written).expect("an event that was read can be written");
        let meaning =
            |event: &EventRequest<'_>| (event.kind.to_string(), event.payload.get().to_owned(), event.id);
        assert_eq!(meaning(&alone), meaning(event));
    }
}

fn write(event: &EventRequest<'_>) -> String {
    let kind = Tree::from(&*event.kind);
    let id = event.id.map_or(Tree::Null, |id| id.to_string().into());
    format!("{{\"id\":{id},\"payload\":{},\"kind\":{kind}}}", event.payload.get())
}

/// The bodies of all other requests: error texts are short, and no secret is displayed.
pub fn request_body(text: &str) {
    fn check<T>(read: Result<T, BodyError>) -> Option<T> {
        let short =
            |error: &BodyError| assert!(error.to_string().len() <= REFUSAL_BYTES_MAX, "a refusal is short");
        read.inspect_err(short).ok()
    }
    if let Some(WebhookRequest { secret: secret @ SecretChange::Set(_), .. }) =
        check(WebhookRequest::read(text))
    {
        assert_eq!(format!("{secret:?}"), "Set(SentSecret(…))");
    }
    if let Some(request) = check(DeploymentsRequest::read(text)) {
        let request = DeploymentsRequest { stacks: None, ..request };
        assert_eq!(format!("{request:?}"), "DeploymentsRequest { stacks: None, .. }");
    }
    check(OrganizationRequest::read(text));
    check(UserRequest::read(text));
    check(MemberRequest::read(text));
    check(TokenRequest::read(text));
    check(RecoveryRequest::read(text));
    check(HoldRequest::read(text));
    check(WebhookOptions::read(text));
}

/// A token parses back to its cursor for any name, and a parsed token has one position.
pub fn cursor(text: &str) {
    let made = Cursor::Name(text.to_owned());
    let token = made.to_token();
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
    assert_eq!(Cursor::from_token(&token), Ok(made));
    if let Ok(read) = Cursor::from_token(text) {
        assert_eq!(Cursor::from_token(&read.to_token()), Ok(read));
    }
}

/// A parsed timestamp is formatted as text that parses to the same timestamp.
pub fn moment(text: &str) {
    if let Some(at) = read_rfc3339(text) {
        assert_eq!(read_rfc3339(&rfc3339(at)), Some(at), "{}", rfc3339(at));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::filter::EventKind;
    use stackbell_model::properties::corpus_texts;

    use super::*;

    #[test]
    fn hold_of_the_corpus() {
        let check = |target: &str, property: fn(&str)| {
            corpus_texts(target).iter().for_each(|text| property(text));
        };
        check("payload", payload);
        check("event", event);
        check("event-body", event_body);
        check("request-body", request_body);
        check("cursor", cursor);
        check("moment", moment);
    }

    /// JSON-like text. More of it is valid JSON than random text would be.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[0-9]{1,4}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            "\"([ -~é🍹]|\\\\[nrtbf/\"u0d8]){0,8}\"",
            "true|false|null|\\[\\]|\\{\\}",
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[ {} ]", items.join(",\n"))),
                prop::collection::vec(("[a-zA-Z]{0,3}", inner), 0..6).prop_map(|members| {
                    let members = members.iter().map(|(key, value)| format!(" \"{key}\" : {value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn hold_of_json(inner in json(), noise in "[\\{\\}\\[\\]\",:\\\\ue0-9.+ tfn-]{0,24}") {
            payload(&format!("{{\"a\":{inner}}}"));
            payload(&format!("{{\"a\":{inner}{noise}"));
            event_body(&format!("[{{\"kind\":\"stack\",\"payload\":{inner}}}{noise}"));
            event_body(&format!("{{\"payload\":{inner},\"kind\":\"\\u0061{noise}\"}}"));
            request_body(&format!("{{\"secret\":{inner},\"token\":\"{noise}\"}}"));
            request_body(&inner);
        }

        #[test]
        fn hold_of_events(kind in proptest::sample::select(EventKind::ALL), inner in json(), field in "[a-zA-Z]{2,12}") {
            let names = r#""projectName":"web","stackName":"prod","environmentName":"e""#;
            let facts = r#""action":"created","status":"failed","result":"succeeded","isPreview":true,"level":"mandatory""#;
            let text = |user: &str| format!(
                "{kind}\n{{{names},{facts},\"kind\":\"update\",\"{field}\":{inner},\"user\":{user},\"driftDetected\":true}}"
            );
            event(&text("null"));
            event(&text(r#"{"name":"a"}"#));
            event(&text(&inner));
        }

        #[test]
        fn hold_of_cursors_and_moments(
            text in any::<String>(),
            token in "[A-Za-z0-9_-]{0,60}",
            at in "-?[0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})",
        ) {
            cursor(&text);
            cursor(&token);
            moment(&at);
            moment(&text);
        }
    }
}
