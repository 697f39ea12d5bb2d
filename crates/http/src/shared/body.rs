//! Reading requests' bodies.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::context::Context;
use super::error::HttpError;

/// How long a body may take to come.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// A body that is text, at most [`crate::Limits::request_bytes_max`] long and not empty.
pub(crate) struct Text(pub(crate) String);

impl FromRequest<Arc<Context>> for Text {
    type Rejection = HttpError;

    async fn from_request(request: Request, context: &Arc<Context>) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        refuse_encoding(&parts.headers)?;
        read_text(body, context.settings.limits.request_bytes_max).await.map(Self)
    }
}

/// Refuses a body that is encoded: nobody who knows us sends one, and it would be a way around the limits.
pub(crate) fn refuse_encoding(headers: &HeaderMap) -> Result<(), HttpError> {
    let is_encoded = |value: &[u8]| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| is_encoded(value.as_bytes())) {
        let detail = "a Content-Encoding is not accepted here, send the body as it is";
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// Reads a body of at most `bytes_max` as a whole.
///
/// # Errors
/// 413, 408, or 400 for one that is empty, broken off, or no UTF-8.
pub(crate) async fn read_text(body: Body, bytes_max: usize) -> Result<String, HttpError> {
    // One that announces too much is refused unread.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let limited = Limited::new(body, bytes_max);
    let read = tokio::time::timeout(BODY_TIME_MAX, limited.collect()).await.map_err(|_| too_slow())?;
    let bytes = read.map_err(|error| broken(error.as_ref(), bytes_max))?.to_bytes();
    let bytes = without_mark(bytes);
    if bytes.is_empty() {
        return Err(HttpError::bad_request("the request has no body, and JSON is needed"));
    }
    to_text(bytes)
}

/// The bytes without the byte order mark that some programs put before their JSON.
/// Source: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
pub(crate) fn without_mark(mut bytes: Bytes) -> Bytes {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if bytes.starts_with(MARK) {
        bytes.advance(MARK.len());
    }
    bytes
}

/// The bytes as text.
///
/// # Errors
/// 400 for what is no UTF-8, with the byte where it stops being so.
pub(crate) fn to_text(bytes: Bytes) -> Result<String, HttpError> {
    let text = String::from_utf8(bytes.into()).map_err(|error| error.utf8_error().valid_up_to());
    text.map_err(|end| HttpError::bad_request(format!("the text is not UTF-8 from byte {end} on")))
}

fn too_large(bytes_max: usize) -> HttpError {
    let detail = format!("a body may have at most {bytes_max} bytes (the setting request_bytes_max)");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// The body did not come in time.
pub(crate) fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
}

fn broken(error: &(dyn std::error::Error + 'static), bytes_max: usize) -> HttpError {
    if error.is::<LengthLimitError>() {
        return too_large(bytes_max);
    }
    HttpError::bad_request("the body ended early")
}
