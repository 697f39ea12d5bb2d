//! `WebhookDelivery` on the wire: one attempt of a delivery. Source: wire-facts.md#webhook-delivery.

use std::fmt;

use serde::Serialize;
use stackbell_model::delivery::{Attempt, Delivery, Outcome};
use stackbell_model::webhook::PayloadUrl;
use utoipa::ToSchema;

use crate::headers::mask_signatures;

/// The start of `responseBody` when there was no response. The hosted service adds nothing after it.
const NO_ANSWER: &str = "URL error with webhook";

/// One attempt of a delivery. All ten fields are always present, in this order.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// Event id; also the redeliver path parameter and the Pulumi-Webhook-Id header.
    id: String,
    /// Event kind.
    kind: String,
    /// Body that was sent, as a string.
    payload: String,
    /// Unix seconds of the attempt.
    timestamp: i64,
    /// Milliseconds.
    duration: i64,
    /// URL called.
    request_url: String,
    /// CRLF-separated header lines.
    request_headers: String,
    /// HTTP status, 0 when there was no response.
    response_code: i64,
    /// CRLF-separated header lines.
    response_headers: String,
    /// Body, or an error text.
    response_body: String,
}

impl WebhookDelivery {
    /// Converts `attempt` of `delivery`. `payload` is the delivery's body; bytes that are not UTF-8 become
    /// U+FFFD. A caller that may not see credentials gets only scheme and host of the URL, and no signatures.
    pub fn new(delivery: &Delivery, attempt: &Attempt, payload: &[u8], sees_credentials: bool) -> Self {
        let (request_url, request_headers) = if sees_credentials {
            (attempt.request_url.to_string(), attempt.request_headers.to_string())
        } else {
            let url = PayloadUrl::from_stored(&attempt.request_url).redacted();
            (url, mask_signatures(&attempt.request_headers))
        };
        let (response_headers, response_body) = response(&attempt.outcome);
        Self {
            id: delivery.event_id.to_string(),
            kind: delivery.trigger.kind().to_owned(),
            payload: String::from_utf8_lossy(payload).into_owned(),
            timestamp: attempt.started_at.as_secs(),
            duration: i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX),
            request_url,
            request_headers,
            response_code: i64::from(attempt.outcome.status()),
            response_headers,
            response_body,
        }
    }
}

pub(super) fn response(outcome: &Outcome) -> (String, String) {
    match outcome {
        Outcome::Answered(answer) | Outcome::HiddenError(answer) => {
            (answer.headers.to_string(), answer.body.to_string())
        }
        Outcome::Unanswered { text, .. } => (String::new(), format!("{NO_ANSWER}: {text}")),
        Outcome::OurFault { text } | Outcome::Undeliverable { text } => (String::new(), text.to_string()),
    }
}

/// Hides the URL and the bodies.
impl fmt::Debug for WebhookDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WebhookDelivery");
        shown.field("id", &self.id).field("kind", &self.kind).field("response_code", &self.response_code);
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stackbell_model::Timestamp;
    use stackbell_model::delivery::{AttemptTrigger, Response, Silence, State, Trigger};
    use stackbell_model::ids::{DeliveryId, EventId, OrganizationId, WebhookId};
    use stackbell_model::webhook::Format;
    use uuid::Uuid;

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            id: DeliveryId::from_uuid(Uuid::nil()),
            organization: OrganizationId::from_uuid(Uuid::nil()),
            webhook: WebhookId::from_uuid(Uuid::nil()),
            trigger: Trigger::Ping,
            event_id: EventId::from_uuid(uuid::uuid!("c64dd9a8-be18-4e6a-8208-2bb2efbbd13a")),
            format: Format::Raw,
            body: None,
            created_at: Timestamp::from_millis(0),
            rearmed_at: None,
            attempts_spent: 1,
            state: State::Succeeded { at: Timestamp::from_millis(0) },
        }
    }

    fn check(outcome: Outcome, sees_credentials: bool, expected: &str) {
        let attempt = Attempt {
            trigger: AttemptTrigger::Ping,
            started_at: Timestamp::from_millis(1_778_653_205_999),
            duration: Duration::from_micros(7_900),
            request_url: "https://localhost.local/secret".into(),
            request_headers: "Accept: */*\r\nPulumi-Webhook-Signature: 95d2\r\n".into(),
            outcome,
        };
        let shown =
            WebhookDelivery::new(&delivery(), &attempt, "{\"message\":\"🍹\"}".as_bytes(), sees_credentials);
        assert_eq!(serde_json::to_string(&shown).expect("plain data"), expected);
        assert!(!format!("{shown:?}").contains("localhost"));
    }

    #[test]
    fn attempts_with_and_without_an_answer() {
        let head = r#"{"id":"c64dd9a8-be18-4e6a-8208-2bb2efbbd13a","kind":"ping","payload":"{\"message\":\"🍹\"}","timestamp":1778653205,"duration":7,"#;
        let whole = r#""requestUrl":"https://localhost.local/secret","requestHeaders":"Accept: */*\r\nPulumi-Webhook-Signature: 95d2\r\n","#;
        let cut = r#""requestUrl":"https://localhost.local","requestHeaders":"Accept: */*\r\nPulumi-Webhook-Signature: ***\r\n","#;
        let answer =
            Response { status: 405, headers: "A: b\r\n".into(), body: "<p>".into(), retry_after: None };
        let answered = r#""responseCode":405,"responseHeaders":"A: b\r\n","responseBody":"<p>"}"#;
        check(Outcome::Answered(answer.clone()), true, &format!("{head}{whole}{answered}"));
        check(Outcome::Answered(answer), false, &format!("{head}{cut}{answered}"));
        let unanswered = Outcome::Unanswered { silence: Silence::Unresolved, text: "no such host".into() };
        let no_answer =
            r#""responseCode":0,"responseHeaders":"","responseBody":"URL error with webhook: no such host"}"#;
        check(unanswered, true, &format!("{head}{whole}{no_answer}"));
        let ours = r#""responseCode":0,"responseHeaders":"","responseBody":"cut by a stop"}"#;
        check(Outcome::OurFault { text: "cut by a stop".into() }, true, &format!("{head}{whole}{ours}"));
        check(Outcome::Undeliverable { text: "cut by a stop".into() }, true, &format!("{head}{whole}{ours}"));
    }
}
