//! `/openapi.json`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::schema::ObjectBuilder;

use super::TAGS;
use crate::shared::answer;
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON};
use crate::shared::need::Need;
use crate::shared::routes::Route;

pub(super) fn route() -> Route {
    let description = Description::new("GetOpenApi", TAGS, "This document.").answer(
        StatusCode::OK,
        "Success.",
        [(JSON, ObjectBuilder::new().into())],
    );
    Route::new(Method::GET, "/openapi.json", Need::Nothing, get).described(description)
}

async fn get(State(context): State<Arc<Context>>) -> Response {
    ([(CONTENT_TYPE, answer::JSON)], context.document.clone()).into_response()
}
