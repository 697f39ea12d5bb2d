//! `/metrics`: OpenMetrics text if the request accepts it, otherwise Prometheus' classic text format.

mod exposition;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode_eof;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::Description;
use stackbell_http_kit::error::HttpError;
use stackbell_http_kit::need::Need;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use self::exposition::{CLASSIC, Exposition, OPEN_METRICS};
use super::{Operations, TAGS};
use crate::Route;

pub(super) fn route() -> Route {
    let body = || ObjectBuilder::new().schema_type(Type::String).into();
    let summary =
        "Metrics: OpenMetrics text if `Accept` names it, otherwise Prometheus' classic text format.";
    let description = Description::new("GetMetrics", TAGS, summary).response(
        StatusCode::OK,
        "Success.",
        [(CLASSIC, body()), (OPEN_METRICS, body())],
    );
    Route::new(Method::GET, "/metrics", Need::Nothing, get).described(description)
}

async fn get(
    State(context): State<Arc<Context>>,
    State(operations): State<Arc<Operations>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let exposition = Exposition::accepted(&headers);
    // Some metrics are read from the operating system, and the text is long: a blocking thread writes it.
    let written = tokio::task::spawn_blocking(move || {
        let mut text = (operations.metrics)()?;
        context.settings.requests.encode(&mut text)?;
        encode_eof(&mut text)?;
        Ok::<_, fmt::Error>(exposition.of(text))
    });
    let failed = "the metrics could not be written";
    let text = written.await.map_err(|error| HttpError::internal(failed, error))?;
    let text = text.map_err(|error| HttpError::internal(failed, error))?;
    Ok(([(CONTENT_TYPE, exposition.content_type()), (VARY, "accept")], text).into_response())
}
