//! Responses without an error.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::HttpError;
use crate::media_type::JSON;

/// `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(CONTENT_TYPE, JSON)], bytes).into_response(),
        Err(error) => HttpError::internal("the response could not be written", error).into_response(),
    }
}

/// 204, without a body.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
