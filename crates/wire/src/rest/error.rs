//! The body of every answer that is an error. Source: wire-facts.md#errors.

use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The HTTP status. Clients report this one and not that of the status line.
    pub code: u16,
    /// `<status text>: <detail>`.
    pub message: String,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub documentation_url: Option<String>,
    /// What exactly is wrong with the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<ErrorDetail>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// What kind of thing the request was about, as in `Webhook`.
    pub resource: String,
    /// The field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub attribute: Option<String>,
    /// What is wrong with it.
    pub error_type: ErrorType,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub custom_message: Option<String>,
}

/// The kinds of errors that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// There is no such thing.
    NotFound,
    /// It has to be given.
    Required,
    /// It is not what it has to be.
    Invalid,
    /// There is one already.
    AlreadyExists,
    /// Something else: see the message.
    Custom,
}

impl ErrorBody {
    /// An error with nothing but a status and a message; `status_text` is that of the status line, as in `Not Found`.
    pub fn new(code: u16, status_text: &str, detail: &str) -> Self {
        let message = format!("{status_text}: {detail}");
        Self { code, message, documentation_url: None, errors: Vec::new() }
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, detail: ErrorDetail) -> Self {
        self.errors.push(detail);
        self
    }
}

impl ErrorDetail {
    /// What is wrong with a field of a `resource`.
    pub fn of_field(resource: &str, error: &crate::field::FieldError) -> Self {
        let error_type = match error.problem() {
            crate::field::Problem::Missing => ErrorType::Required,
            crate::field::Problem::Invalid(_) => ErrorType::Invalid,
        };
        Self {
            resource: resource.to_owned(),
            attribute: Some(error.path().to_owned()),
            error_type,
            custom_message: Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldError;

    fn check(body: &ErrorBody, expected: &str) {
        assert_eq!(serde_json::to_string(body).expect("plain data"), expected);
    }

    #[test]
    fn bodies() {
        let not_found = ErrorBody::new(404, "Not Found", "Webhook 'x' not found");
        check(&not_found, r#"{"code":404,"message":"Not Found: Webhook 'x' not found"}"#);
        let missing = ErrorDetail::of_field("Webhook", &FieldError::missing("payloadUrl"));
        let bad_request = ErrorBody::new(400, "Bad Request", "payloadUrl is required").with(missing);
        check(
            &bad_request,
            r#"{"code":400,"message":"Bad Request: payloadUrl is required","errors":[{"resource":"Webhook","attribute":"payloadUrl","errorType":"required","customMessage":"payloadUrl is required"}]}"#,
        );
    }
}
