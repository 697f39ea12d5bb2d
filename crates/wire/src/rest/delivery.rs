//! Deliveries in our own API: one event for one webhook, over all its attempts.

use std::fmt;

use serde::Serialize;
use stackbell_model::delivery::Attempt;
use stackbell_model::webhook::PayloadUrl;
use utoipa::ToSchema;

use super::rfc3339;
use super::webhook_delivery::response;
use crate::headers::mask_signatures;

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryResponse {
    /// Its id.
    pub id: String,
    /// The event's id, which endpoints get as `Pulumi-Webhook-Id`.
    pub event_id: String,
    /// The event's kind, or `ping`.
    pub kind: String,
    /// Its webhook.
    pub webhook: DeliveryWebhook,
    /// `raw`, `slack`, `ms_teams` or `pulumi_deployments`, as configured when the event was accepted.
    pub format: String,
    /// The project of the stack or environment that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub project_name: Option<String>,
    /// The stack that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub stack_name: Option<String>,
    /// The environment that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub environment_name: Option<String>,
    /// When it was created: RFC 3339, UTC, milliseconds, like all times here.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When a user last retried it after it had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub rearmed_at: Option<String>,
    /// `pending`, `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// When it is due; only while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub due_at: Option<String>,
    /// When it ended; only if it is not pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub finished_at: Option<String>,
    /// The reason for a failure: `attempts_exhausted`, `expired`, `undeliverable` or `not_repeatable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub fail_reason: Option<String>,
    /// The reason for a cancellation: `webhook_deleted` or `asked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub cancel_reason: Option<String>,
    /// The user or service token that cancelled it or deleted its webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub cancelled_by: Option<String>,
    /// The number of attempts, of every trigger.
    pub attempts: u32,
    /// The number of scheduled attempts that are spent.
    pub attempts_spent: u32,
    /// A summary of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DeliveryLastAttempt, required = false)]
    pub last_attempt: Option<DeliveryLastAttempt>,
}

/// The webhook of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryWebhook {
    /// Its id.
    pub id: String,
    /// Its identifier, unique in its scope.
    pub name: String,
    /// Its scope: `organization`, `stack` or `environment`.
    pub scope: String,
    /// The project of its stack or environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub project_name: Option<String>,
    /// Its stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub stack_name: Option<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub env_name: Option<String>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A summary of a delivery's last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryLastAttempt {
    /// When it started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// Its duration.
    pub duration_ms: u64,
    /// HTTP status, 0 when there was no response.
    pub response_code: u16,
    /// The reason why there was no response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub error: Option<String>,
}

/// The reason why a pending delivery is not sent now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryWaiting {
    /// `backoff` (its last attempt failed), `breaker` (its webhook's circuit breaker is open), `pace` (its
    /// webhook has a rate limit),
    /// `busy` (its endpoint is slow), `suspended`, `inactive` or `sending_held`.
    pub reason: &'static str,
    /// When the wait ends, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub until: Option<String>,
    /// The cause of the wait, for users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub because: Option<String>,
}

/// A delivery with its payload and its attempts.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryResponse,
    /// The reason why it is not sent now; absent if it has ended, or is sent as soon as a permit is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DeliveryWaiting, required = false)]
    pub waiting: Option<DeliveryWaiting>,
    /// The body that it sends, as text.
    pub payload: String,
    /// Its newest attempts, newest first; at most 100, and at most about 4 MiB.
    pub history: Vec<AttemptResponse>,
}

/// Hides the payload and the attempts.
impl fmt::Debug for DeliveryDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryDetail").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// An attempt: one request.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptResponse {
    /// The reason for the attempt: `schedule`, `probe`, `redeliver` or `ping`.
    pub trigger: &'static str,
    /// When it started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// Its duration.
    pub duration_ms: u64,
    /// URL called.
    pub request_url: String,
    /// CRLF-separated header lines.
    pub request_headers: String,
    /// HTTP status, 0 when there was no response.
    pub response_code: u16,
    /// CRLF-separated header lines.
    pub response_headers: String,
    /// Body; empty when there was no response.
    pub response_body: String,
    /// The reason why there was no response, or the error in the body of a 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub error: Option<String>,
}

impl AttemptResponse {
    /// Converts `attempt`. A caller that may not see credentials gets only scheme and host of the URL, and no
    /// signatures.
    pub fn new(attempt: &Attempt, sees_credentials: bool) -> Self {
        let (request_url, request_headers) = if sees_credentials {
            (attempt.request_url.to_string(), attempt.request_headers.to_string())
        } else {
            let url = PayloadUrl::from_stored(&attempt.request_url).redacted();
            (url, mask_signatures(&attempt.request_headers))
        };
        let (response_headers, text) = response(&attempt.outcome);
        let (response_body, error) = match attempt.outcome.response() {
            Some(_) => (text, attempt.outcome.hidden_error().map(|error| error.to_string())),
            None => (String::new(), Some(text)),
        };
        Self {
            trigger: attempt.trigger.as_str(),
            started_at: rfc3339(attempt.started_at),
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            request_url,
            request_headers,
            response_code: attempt.outcome.status(),
            response_headers,
            response_body,
            error,
        }
    }
}

/// Hides the URL, the headers and the bodies.
impl fmt::Debug for AttemptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AttemptResponse");
        shown.field("trigger", &self.trigger).field("response_code", &self.response_code);
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stackbell_model::Timestamp;
    use stackbell_model::delivery::{AttemptTrigger, Outcome, Response, Silence};

    use super::*;

    fn check(outcome: Outcome, sees_credentials: bool, expected: &str) {
        let attempt = Attempt {
            trigger: AttemptTrigger::Redeliver,
            started_at: Timestamp::from_millis(1_778_653_144_070),
            duration: Duration::from_micros(7_900),
            request_url: "https://a.example/secret".into(),
            request_headers: "Pulumi-Webhook-Signature: 95d2\r\n".into(),
            outcome,
        };
        let shown = AttemptResponse::new(&attempt, sees_credentials);
        assert_eq!(serde_json::to_string(&shown).expect("plain data"), expected);
        assert!(!format!("{shown:?}").contains("a.example"));
    }

    #[test]
    fn attempts() {
        let head = r#"{"trigger":"redeliver","startedAt":"2026-05-13T06:19:04.070Z","durationMs":7,"#;
        let whole = r#""requestUrl":"https://a.example/secret","requestHeaders":"Pulumi-Webhook-Signature: 95d2\r\n","#;
        let cut = r#""requestUrl":"https://a.example","requestHeaders":"Pulumi-Webhook-Signature: ***\r\n","#;
        let answer =
            Response { status: 405, headers: "A: b\r\n".into(), body: "no".into(), retry_after: None };
        let answered = r#""responseCode":405,"responseHeaders":"A: b\r\n","responseBody":"no"}"#;
        check(Outcome::Answered(answer.clone()), true, &format!("{head}{whole}{answered}"));
        check(Outcome::Answered(answer), false, &format!("{head}{cut}{answered}"));
        let silent = Outcome::Unanswered { silence: Silence::Unresolved, text: "no such host".into() };
        let unanswered = r#""responseCode":0,"responseHeaders":"","responseBody":"","error":"URL error with webhook: no such host"}"#;
        check(silent, true, &format!("{head}{whole}{unanswered}"));
        let body = "Microsoft Teams endpoint returned HTTP error 413".into();
        let hidden = Response { status: 200, headers: "".into(), body, retry_after: None };
        let reason = "Microsoft Teams did not take the message: behind this answer is HTTP error 413; it is lost, as no retry helps";
        let answered = format!(
            r#""responseCode":200,"responseHeaders":"","responseBody":"Microsoft Teams endpoint returned HTTP error 413","error":"{reason}"}}"#
        );
        check(Outcome::HiddenError(hidden), true, &format!("{head}{whole}{answered}"));
    }
}
