//! Properties that hold for the parsers here with any input: see `stackbell_model::properties` for the callers.

use serde_json::Value as Tree;
use serde_json::value::RawValue;
use stackbell_model::Timestamp;
use stackbell_model::event::{Event, Source};
use stackbell_model::ids::{EventId, EventKey, OrganizationId};
use stackbell_model::webhook::Format;

use crate::json::{CanonicalObject, Value};
use crate::raw::{Classified, Filling, Party, read_event};
use crate::render;

/// The most bytes of a payload here.
const BYTES_MAX: usize = 64 * 1024;

/// The maximum size of an error message: a path of the maximum depth with shortened names, and one sentence.
const REFUSAL_BYTES_MAX: usize = 64 * 65 * 4 + 2048;

/// Checks a canonical object: it is JSON, no longer than its source, and its own canonical form.
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
    // Only whole numbers may grow: `1e9` becomes ten digits.
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

/// True if two trees have equal meaning. Numbers are compared by value, with the precision of the library.
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

/// Checks that joining the parts of a value gives the value again.
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

/// Checks an event: a line with its kind, then its payload. An accepted payload is accepted again unchanged, keeps its
/// meaning, and renders in every format.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::filter::EventKind;
    use stackbell_model::properties::corpus_texts;
    use stackbell_model::strategies::json;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus_texts("payload").iter().for_each(|text| payload(text));
        corpus_texts("event").iter().for_each(|text| event(text));
    }

    proptest! {
        #[test]
        fn hold_for_json(inner in json(), noise in "[\\{\\}\\[\\]\",:\\\\ue0-9.+ tfn-]{0,24}") {
            payload(&format!("{{\"a\":{inner}}}"));
            payload(&format!("{{\"a\":{inner}{noise}"));
        }

        #[test]
        fn hold_for_events(kind in proptest::sample::select(EventKind::ALL), inner in json(), field in "[a-zA-Z]{2,12}") {
            let names = r#""projectName":"web","stackName":"prod","environmentName":"e""#;
            let facts = r#""action":"created","status":"failed","result":"succeeded","isPreview":true,"level":"mandatory""#;
            let text = |user: &str| format!(
                "{kind}\n{{{names},{facts},\"kind\":\"update\",\"{field}\":{inner},\"user\":{user},\"driftDetected\":true}}"
            );
            event(&text("null"));
            event(&text(r#"{"name":"a"}"#));
            event(&text(&inner));
        }
    }
}
