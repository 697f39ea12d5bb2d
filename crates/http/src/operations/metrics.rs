//! `/metrics`, in the text format of OpenMetrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::TAGS;
use crate::shared::context::Context;
use crate::shared::description::Description;
use crate::shared::error::HttpError;
use crate::shared::routes::Route;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn route() -> Route {
    let body = ObjectBuilder::new().schema_type(Type::String);
    let description = Description::new("GetMetrics", TAGS, "Metrics, as OpenMetrics text.").answer(
        StatusCode::OK,
        "Success.",
        [(OPEN_METRICS, body.into())],
    );
    Route::new(Method::GET, "/metrics", get).described(description)
}

async fn get(State(context): State<Arc<Context>>) -> Result<Response, HttpError> {
    let text = (context.settings.metrics)()
        .map_err(|error| HttpError::internal("the metrics could not be written", error))?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
