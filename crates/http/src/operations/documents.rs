//! `/openapi.json`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use stackbell_http_kit::description::Description;
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use utoipa::openapi::schema::ObjectBuilder;

use super::{Operations, TAGS};
use crate::Route;

pub(super) fn route() -> Route {
    let description = Description::new("GetOpenApi", TAGS, "This document.").response(
        StatusCode::OK,
        "Success.",
        [(JSON, ObjectBuilder::new().into())],
    );
    Route::new(Method::GET, "/openapi.json", Need::Nothing, get).described(description)
}

async fn get(State(operations): State<Arc<Operations>>) -> Response {
    ([(CONTENT_TYPE, JSON)], operations.document.clone()).into_response()
}
