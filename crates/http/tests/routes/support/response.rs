use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde_json::Value;

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl TestResponse {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The body, which must be declared as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The body of a response with this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// An empty response with this status.
    pub(crate) fn expect_empty(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert!(self.body.is_empty());
    }

    /// The message of an error response, after the status text.
    pub(crate) fn refusal(&self, status: u16) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], status);
        let message = body["message"].as_str().expect("a message");
        let text = self.status.canonical_reason().expect("a known status");
        let detail = message.strip_prefix(text).and_then(|rest| rest.strip_prefix(": "));
        detail.expect("the status text and a colon").to_owned()
    }

    /// The details of an error response, as `attribute errorType`.
    pub(crate) fn details(&self) -> Vec<String> {
        let body = self.json();
        let details = body["errors"].as_array().cloned().unwrap_or_default();
        let show = |detail: &Value| {
            let word = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("resource"), word("attribute"), word("errorType"))
        };
        details.iter().map(show).collect()
    }
}
