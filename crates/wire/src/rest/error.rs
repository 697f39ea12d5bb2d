//! The body of every error response. Source: wire-facts.md#errors.

use serde::Serialize;
use utoipa::ToSchema;

/// An error, for programs and for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The HTTP status. Clients report this code, not the status line's.
    pub code: u16,
    /// `<status text>: <detail>`.
    pub message: String,
    /// A page with more information.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub documentation_url: Option<String>,
    /// The errors in the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<ErrorDetail>,
}

/// One error in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// The type of the resource, for example `Webhook`.
    pub resource: String,
    /// The field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub attribute: Option<String>,
    /// The type of the error.
    pub error_type: ErrorType,
    /// A description of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub custom_message: Option<String>,
}

/// The types of errors that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The resource does not exist.
    NotFound,
    /// The field is required.
    Required,
    /// The value is not valid.
    Invalid,
    /// The resource exists already.
    AlreadyExists,
    /// Another error: see the message.
    Custom,
}

impl ErrorBody {
    /// Makes an error with a status and a message only. `status_text` is the text of the status line, for
    /// example `Not Found`.
    pub fn new(code: u16, status_text: &str, detail: &str) -> Self {
        let message = format!("{status_text}: {detail}");
        Self { code, message, documentation_url: None, errors: Vec::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, detail: ErrorDetail) -> Self {
        self.errors.push(detail);
        self
    }
}

impl ErrorDetail {
    /// Makes a detail for a field of a `resource`.
    pub fn of_field(resource: &str, error: &stackbell_model::field::FieldError) -> Self {
        let error_type = match error.problem() {
            stackbell_model::field::Problem::Missing => ErrorType::Required,
            stackbell_model::field::Problem::Invalid(_) => ErrorType::Invalid,
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
    use stackbell_model::field::FieldError;

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
