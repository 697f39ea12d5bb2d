//! Properties that the parsers in this crate have for every input; see `stackbell_model::properties`.

use serde_json::Value as Tree;
use stackbell_model::secret::SecretChange;

use crate::rest::body::BodyError;
use crate::rest::event::{EventBody, EventRequest, read_body, read_one};
use crate::rest::identity::{MemberRequest, OrganizationRequest, TokenRequest, UserRequest};
use crate::rest::operation::{DeploymentsRequest, HoldRequest, RecoveryRequest};
use crate::rest::page::Cursor;
use crate::rest::webhook::WebhookRequest;
use crate::rest::webhook_overview::WebhookOptions;
use crate::rest::{read_rfc3339, rfc3339};

/// The maximum number of events in an array in these properties.
const EVENTS_MAX: usize = 8;

/// The maximum length of an error text. The path of the deepest nesting has this many names, each truncated;
/// a sentence follows.
const REFUSAL_BYTES_MAX: usize = 64 * 65 * 4 + 2048;

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
    use stackbell_model::properties::corpus_texts;
    use stackbell_model::strategies::json;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        let check = |target: &str, property: fn(&str)| {
            corpus_texts(target).iter().for_each(|text| property(text));
        };
        check("event-body", event_body);
        check("request-body", request_body);
        check("cursor", cursor);
        check("moment", moment);
    }

    proptest! {
        #[test]
        fn hold_for_json(inner in json(), noise in "[\\{\\}\\[\\]\",:\\\\ue0-9.+ tfn-]{0,24}") {
            event_body(&format!("[{{\"kind\":\"stack\",\"payload\":{inner}}}{noise}"));
            event_body(&format!("{{\"payload\":{inner},\"kind\":\"\\u0061{noise}\"}}"));
            request_body(&format!("{{\"secret\":{inner},\"token\":\"{noise}\"}}"));
            request_body(&inner);
        }

        #[test]
        fn hold_for_cursors_and_moments(
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
