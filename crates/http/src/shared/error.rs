//! Refusals, as they are answered and logged.

use stackbell_model::Chain;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use stackbell_app::{Code, Error, FieldError, FieldProblem};
use stackbell_wire::rest::body::BodyError;
use stackbell_wire::rest::error::{ErrorBody, ErrorDetail, ErrorType};

use super::answer::JSON;

/// When to try again where nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// Why a request is refused. Becomes an answer, and once a line in the log where the fault was ours.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    /// A sentence without a full stop, which follows the status text.
    detail: String,
    errors: Vec<ErrorDetail>,
    retry_after: Option<Duration>,
    /// Whether every request is refused by it for a while, so that the log tells of it now and then alone.
    is_lasting: bool,
    /// For the log alone.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (errors, detail) = (Vec::new(), detail.into());
        Self { status, detail, errors, retry_after: None, is_lasting: false, cause: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// One thing about the request is wrong. `detail` names it.
    pub(crate) fn invalid(resource: &str, attribute: &str, detail: impl Into<String>) -> Self {
        Self::bad_request(detail).with(resource, attribute, ErrorType::Invalid)
    }

    /// Not so many, or not so soon: the next may come after `wait`.
    pub(crate) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::from_app("Token", Error::unauthenticated())
    }

    pub(crate) fn internal(detail: &str, cause: impl StdError + Send + Sync + 'static) -> Self {
        let cause: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(cause));
        Self { cause, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail) }
    }

    /// The body of a request about a `resource` cannot be read.
    pub(crate) fn body(resource: &str, error: &BodyError) -> Self {
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

    /// What the control plane says about a `resource`.
    pub(crate) fn from_app(resource: &str, error: Error) -> Self {
        Self {
            status: status(error.code),
            detail: error.message,
            errors: error.fields.iter().map(|field| detail(resource, field)).collect(),
            retry_after: error.retry_after,
            is_lasting: error.code == Code::Full,
            cause: error.cause,
        }
    }

    /// The same, saying what kind of fault it is in which attribute.
    #[must_use]
    pub(crate) fn with(mut self, resource: &str, attribute: &str, error_type: ErrorType) -> Self {
        self.errors.push(ErrorDetail {
            resource: resource.to_owned(),
            attribute: Some(attribute.to_owned()),
            error_type,
            custom_message: Some(self.detail.clone()),
        });
        self
    }

    /// The same, saying more.
    #[must_use]
    pub(crate) fn explain(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail);
        self
    }

    /// The status.
    pub(crate) fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// What is wrong, for where the status is told apart from it.
    pub(crate) fn into_detail(self) -> String {
        self.detail
    }

    /// Whether the fault was ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// Tells the log, if the fault was ours. For a refusal that is no answer of its own; [`Fault`] is for those that are.
    pub(crate) fn log(&self) {
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

/// For `map_err`: what the control plane says about a `resource`.
pub(crate) fn about(resource: &'static str) -> impl Fn(Error) -> HttpError {
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
        // 507 would say it better, and no client would try again after it.
        Code::Unavailable | Code::Full => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn detail(resource: &str, error: &FieldError) -> ErrorDetail {
    ErrorDetail {
        resource: resource.to_owned(),
        attribute: Some(error.field.to_owned()),
        error_type: match error.problem {
            FieldProblem::Required => ErrorType::Required,
            FieldProblem::Invalid => ErrorType::Invalid,
            FieldProblem::AlreadyExists => ErrorType::AlreadyExists,
        },
        custom_message: Some(format!("{} {}", error.field, error.message)),
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
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("token"));
        }
        response
    }
}

/// With an answer: why it is a refusal, as those around it are.
#[derive(Clone, Debug)]
pub(crate) struct Lasting(pub(crate) Arc<str>);

/// With an answer: a fault of ours, which the log is to tell of.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    detail: Arc<str>,
    cause: Option<Arc<str>>,
}

impl Fault {
    /// Tells the log of a fault, with how long the request took and how many lines were left out before, where that is known.
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

/// For a path that is none of ours.
pub(crate) async fn no_such_route() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "there is no such route")
}

/// For one of ours with another method. The router adds `Allow`.
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
