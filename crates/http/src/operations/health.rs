//! `/healthz`: the process responds. `/readyz`: it can take requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::Description;
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::response;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::probe::Condition;
use super::{Operations, TAGS};
use crate::Route;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

pub(super) fn alive() -> Route {
    let description = Description::new("GetHealth", TAGS, "Whether the process responds.");
    Route::new(Method::GET, "/healthz", Need::Nothing, get_alive).described(status(
        description,
        StatusCode::OK,
        "It does.",
    ))
}

pub(super) fn ready() -> Route {
    let description = Description::new("GetReadiness", TAGS, "Whether the process takes requests.");
    let description = status(description, StatusCode::OK, "It does.");
    let description = status(description, StatusCode::SERVICE_UNAVAILABLE, "It does not.");
    Route::new(Method::GET, "/readyz", Need::Nothing, get_ready).described(description)
}

fn status(description: Description, status: StatusCode, text: &str) -> Description {
    let body = ObjectBuilder::new()
        .property("status", ObjectBuilder::new().schema_type(Type::String))
        .required("status");
    description.response(status, text, [(JSON, body.into())])
}

async fn get_alive() -> Response {
    response::json(StatusCode::OK, &Status { status: "ok" })
}

async fn get_ready(
    State(context): State<Arc<Context>>,
    State(operations): State<Arc<Operations>>,
) -> Response {
    let (status, word) = if (operations.readiness)() {
        match operations.probe.condition(&context.app, &operations.data_folder).await {
            Condition::Well => (StatusCode::OK, "ok"),
            Condition::Full => (StatusCode::SERVICE_UNAVAILABLE, "store full"),
            Condition::NoFolder => (StatusCode::SERVICE_UNAVAILABLE, "data folder gone"),
            Condition::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "store unavailable"),
        }
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving")
    };
    response::json(status, &Status { status: word })
}
