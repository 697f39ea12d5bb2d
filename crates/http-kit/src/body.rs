//! Request bodies.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::context::Context;
use crate::error::HttpError;
use crate::routes::RouteRules;

/// The most time that a body may take to arrive.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The body of a request.
pub struct RequestBody {
    body: Body,
    limit: BodyLimit,
}

/// The most bytes of a body that is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLimit {
    /// The setting of the router.
    Setting(usize),
    /// The route's own limit.
    Route(usize),
}

impl<S> FromRequest<S> for RequestBody
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        refuse_encoding(&parts.headers)?;
        let limit = match RouteRules::of(&parts.extensions).body_bytes_max {
            Some(bytes_max) => BodyLimit::Route(bytes_max),
            None => BodyLimit::Setting(Arc::<Context>::from_ref(state).settings.request_bytes_max),
        };
        Ok(Self { body, limit })
    }
}

impl RequestBody {
    /// Reads the body as a whole. It is UTF-8, not empty, and at most as long as the route allows. A byte order mark at its
    /// beginning is left out.
    ///
    /// # Errors
    /// 413 for a body that is too long; 408 for one that does not arrive in [`BODY_TIME_MAX`]; 400 for one that is empty,
    /// ends early or is not UTF-8.
    pub async fn text(self) -> Result<String, HttpError> {
        let Self { body, limit } = self;
        // A body that announces too many bytes is refused unread.
        if body.size_hint().lower() > limit.bytes_max() as u64 {
            return Err(limit.refusal());
        }
        let reading = Limited::new(body, limit.bytes_max()).collect();
        let read = tokio::time::timeout(BODY_TIME_MAX, reading).await.map_err(|_| too_slow())?;
        let bytes = read.map_err(|error| match find::<LengthLimitError>(error.as_ref()) {
            Some(_) => limit.refusal(),
            None => broken(error.as_ref()),
        })?;
        let bytes = without_mark(bytes.to_bytes());
        if bytes.is_empty() {
            return Err(HttpError::bad_request("the request has no body, and JSON is needed"));
        }
        to_text(bytes)
    }

    /// The body as a stream, without a limit of its length. Give its errors to [`broken`].
    pub fn stream(self) -> Body {
        self.body
    }
}

impl BodyLimit {
    const fn bytes_max(self) -> usize {
        match self {
            Self::Setting(bytes_max) | Self::Route(bytes_max) => bytes_max,
        }
    }

    fn refusal(self) -> HttpError {
        let detail = match self {
            Self::Setting(bytes_max) => {
                format!("a body may have at most {bytes_max} bytes (the setting request_bytes_max)")
            }
            Self::Route(bytes_max) => format!("a body may have at most {bytes_max} bytes on this route"),
        };
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }
}

/// A body that was read as a whole, as [`RequestBody::text`] reads it.
pub struct Text(pub String);

impl<S> FromRequest<S> for Text
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        RequestBody::from_request(request, state).await?.text().await.map(Self)
    }
}

/// Refuses an encoded body.
fn refuse_encoding(headers: &HeaderMap) -> Result<(), HttpError> {
    let is_encoded = |value: &[u8]| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| is_encoded(value.as_bytes())) {
        let detail = "a Content-Encoding is not accepted here, send the body as it is";
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// The bytes without the byte order mark that some programs put before their JSON.
/// Source: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
pub fn without_mark(mut bytes: Bytes) -> Bytes {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if bytes.starts_with(MARK) {
        bytes.advance(MARK.len());
    }
    bytes
}

/// The bytes as text.
///
/// # Errors
/// 400 for bytes that are not UTF-8, with the position of the first wrong byte.
pub fn to_text(bytes: Bytes) -> Result<String, HttpError> {
    let text = String::from_utf8(bytes.into()).map_err(|error| error.utf8_error().valid_up_to());
    text.map_err(|end| HttpError::bad_request(format!("the text is not UTF-8 from byte {end} on")))
}

/// The refusal of a body that did not arrive in time.
pub fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
}

/// The refusal of a body whose stream ended with this error.
pub fn broken(_: &(dyn StdError + 'static)) -> HttpError {
    HttpError::bad_request("the body ended early")
}

/// The first error of this type in a chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
