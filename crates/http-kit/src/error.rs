//! Errors as responses, and as lines of the log.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use stackbell_app::{Code, Error, FieldError, FieldProblem};
use stackbell_model::Chain;
use stackbell_wire::rest::body::BodyError;
use stackbell_wire::rest::error::{ErrorBody, ErrorDetail, ErrorType};

use crate::media_type::JSON;
use crate::scheme::Scheme;

/// The delay before the next try, where the error does not give one.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// The reason why a request is refused. It becomes a response, and a line of the log if the fault was ours.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    /// A sentence without a full stop. It follows the status text.
    detail: String,
    errors: Vec<ErrorDetail>,
    retry_after: Option<Duration>,
    /// A header that belongs to the status.
    header: Option<(&'static HeaderName, &'static str)>,
    /// Whether every request is refused for this reason for a while. The log reports such a reason once a minute only.
    is_lasting: bool,
    /// The cause, for the log only.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl HttpError {
    /// A refusal with this status. `detail` is a sentence without a full stop.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (errors, detail) = (Vec::new(), detail.into());
        Self { status, detail, errors, retry_after: None, header: None, is_lasting: false, cause: None }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: one attribute of a resource is wrong. `detail` names it.
    pub fn invalid(resource: &str, attribute: &str, detail: impl Into<String>) -> Self {
        Self::bad_request(detail).with(resource, attribute, ErrorType::Invalid)
    }

    /// 429: the next request may come after `wait`.
    pub fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// 401, which asks for a credential of this scheme.
    pub fn unauthenticated(scheme: Scheme) -> Self {
        Self::from_app("Token", Error::unauthenticated()).with_header(&WWW_AUTHENTICATE, scheme.name())
    }

    /// 500, with its cause for the log.
    pub fn internal(detail: &str, cause: impl StdError + Send + Sync + 'static) -> Self {
        let cause: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(cause));
        Self { cause, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail) }
    }

    /// 400: the body of a request about a `resource` cannot be read.
    pub fn body(resource: &str, error: &BodyError) -> Self {
        match error {
            BodyError::Field(field) => Self {
                errors: vec![ErrorDetail::of_field(resource, field)],
                ..Self::bad_request(field.to_string())
            },
            BodyError::Json(_) => {
                let refusal = Self::bad_request(error.to_string());
                match error.path() {
                    Some(path) => refusal.with(resource, path, ErrorType::Invalid),
                    None => refusal,
                }
            }
        }
    }

    /// An error of the control plane about a `resource`.
    pub fn from_app(resource: &str, error: Error) -> Self {
        let challenge = (&WWW_AUTHENTICATE, Scheme::TOKEN.name());
        Self {
            status: status(error.code),
            detail: error.message,
            errors: error.fields.iter().map(|field| detail(resource, field)).collect(),
            retry_after: error.retry_after,
            header: (error.code == Code::Unauthenticated).then_some(challenge),
            is_lasting: error.code == Code::Full,
            cause: error.cause,
        }
    }

    /// This error with a fault of one attribute added.
    #[must_use]
    pub fn with(mut self, resource: &str, attribute: &str, error_type: ErrorType) -> Self {
        self.errors.push(ErrorDetail {
            resource: resource.to_owned(),
            attribute: Some(attribute.to_owned()),
            error_type,
            custom_message: Some(self.detail.clone()),
        });
        self
    }

    /// This error with a header that belongs to its status.
    #[must_use]
    pub(crate) fn with_header(self, name: &'static HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// This error with a longer detail.
    #[must_use]
    pub fn explain(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail);
        self
    }

    /// The status code.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// The detail, for a reader who gets the status elsewhere.
    pub fn into_detail(self) -> String {
        self.detail
    }

    /// Whether the fault was ours: a 5xx.
    pub fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// Logs the error if the fault was ours. For an error that becomes a part of a response; an error that is a response is
    /// logged with its request.
    pub fn log(&self) {
        if let Some(fault) = self.fault() {
            fault.log(None, None);
        }
    }

    fn fault(&self) -> Option<Fault> {
        (self.is_ours() && !self.is_lasting).then(|| Fault {
            status: self.status,
            detail: self.detail.as_str().into(),
            cause: self.cause.as_deref().map(|cause| Chain(cause).to_string().into()),
        })
    }
}

/// For `map_err`: an error of the control plane about a `resource`.
pub fn about(resource: &'static str) -> impl Fn(Error) -> HttpError {
    move |error| HttpError::from_app(resource, error)
}

const fn status(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
        // 507 would be more exact for `Full`, but no client tries again after a 507.
        Code::Unavailable | Code::Full => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn detail(resource: &str, error: &FieldError) -> ErrorDetail {
    ErrorDetail {
        resource: resource.to_owned(),
        attribute: Some(error.field.to_string()),
        error_type: match error.problem {
            FieldProblem::Required => ErrorType::Required,
            FieldProblem::Invalid => ErrorType::Invalid,
            FieldProblem::AlreadyExists => ErrorType::AlreadyExists,
        },
        custom_message: Some(error.message.clone()),
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let fault = self.fault();
        let lasting = self.is_lasting.then(|| Lasting(self.detail.as_str().into()));
        let text = self.status.canonical_reason().unwrap_or("Error");
        let mut body = ErrorBody::new(self.status.as_u16(), text, &self.detail);
        body.errors = self.errors;
        let bytes = serde_json::to_vec(&body).expect("strings and numbers alone");
        let mut response = (self.status, [(CONTENT_TYPE, JSON)], bytes).into_response();
        if let Some(lasting) = lasting {
            response.extensions_mut().insert(lasting);
        }
        if let Some(fault) = fault {
            response.extensions_mut().insert(fault);
        }
        let headers = response.headers_mut();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let wait = self.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// An extension of a response: the lasting reason why this request and others are refused.
#[derive(Clone, Debug)]
pub(crate) struct Lasting(pub(crate) Arc<str>);

/// An extension of a response: a fault of ours, for the log.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    detail: Arc<str>,
    cause: Option<Arc<str>>,
}

impl Fault {
    /// Logs the fault, with the duration of the request and the number of lines that were left out before, if known.
    pub(crate) fn log(&self, duration_ms: Option<f64>, left_out: Option<u64>) {
        let (code, error, cause) = (self.status.as_u16(), &*self.detail, self.cause.as_deref());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(
                http.status = code,
                duration_ms,
                left_out,
                error,
                cause,
                "a request could not be served"
            );
        } else {
            tracing::error!(http.status = code, duration_ms, left_out, error, cause, "a request failed");
        }
    }
}

/// The response for a path that no route has.
pub(crate) async fn no_such_route() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "there is no such route")
}

/// The response for a path that has no route with the method. The router adds `Allow`.
pub(crate) async fn no_such_method() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this route has other methods, see the Allow header")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn check(code: Code, status: u16, retry_after: Option<&str>) {
        let cause: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(io::Error::other("private")));
        let error = Error { cause, ..Error::new(code, "it failed") };
        let response = about("Webhook")(error).into_response();
        assert_eq!(response.status().as_u16(), status, "{code:?}");
        let header = response.headers().get(RETRY_AFTER).map(|value| value.to_str().expect("digits"));
        assert_eq!(header, retry_after, "{code:?}");
    }

    #[test]
    fn a_401_names_a_scheme() {
        let challenge = |error: HttpError| {
            let response = error.into_response();
            let header = response.headers().get(WWW_AUTHENTICATE);
            header.map(|value| value.to_str().expect("a scheme").to_owned())
        };
        let update = Scheme::new("update-token");
        assert_eq!(challenge(HttpError::unauthenticated(update)).as_deref(), Some("update-token"));
        assert_eq!(challenge(about("Token")(Error::unauthenticated())).as_deref(), Some("token"));
        assert_eq!(challenge(HttpError::bad_request("no")), None);
    }

    #[test]
    fn codes_and_statuses() {
        check(Code::Invalid, 400, None);
        check(Code::Unauthenticated, 401, None);
        check(Code::Forbidden, 403, None);
        check(Code::NotFound, 404, None);
        check(Code::Conflict, 409, None);
        check(Code::TooMany, 429, Some("5"));
        check(Code::Unavailable, 503, Some("5"));
        check(Code::Full, 503, Some("5"));
        check(Code::Internal, 500, None);
    }
}
