//! `/healthz`: the process answers. `/readyz`: it can take work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::TAGS;
use super::probe::Condition;
use crate::shared::answer;
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON};
use crate::shared::need::Need;
use crate::shared::routes::Route;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

pub(super) fn alive() -> Route {
    let description = Description::new("GetHealth", TAGS, "Whether the process answers.");
    Route::new(Method::GET, "/healthz", Need::Nothing, get_alive).described(status(
        description,
        StatusCode::OK,
        "It does.",
    ))
}

pub(super) fn ready() -> Route {
    let description = Description::new("GetReadiness", TAGS, "Whether the process takes work.");
    let description = status(description, StatusCode::OK, "It does.");
    let description = status(description, StatusCode::SERVICE_UNAVAILABLE, "It does not.");
    Route::new(Method::GET, "/readyz", Need::Nothing, get_ready).described(description)
}

fn status(description: Description, status: StatusCode, text: &str) -> Description {
    let body = ObjectBuilder::new()
        .property("status", ObjectBuilder::new().schema_type(Type::String))
        .required("status");
    description.answer(status, text, [(JSON, body.into())])
}

async fn get_alive() -> Response {
    answer::json(StatusCode::OK, &Status { status: "ok" })
}

async fn get_ready(State(context): State<Arc<Context>>) -> Response {
    let (status, word) = if (context.settings.readiness)() {
        match context.probe.condition(&context.app, &context.settings.data_folder).await {
            Condition::Well => (StatusCode::OK, "ok"),
            Condition::Full => (StatusCode::SERVICE_UNAVAILABLE, "store full"),
            Condition::NoFolder => (StatusCode::SERVICE_UNAVAILABLE, "data folder gone"),
            Condition::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "store unavailable"),
        }
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving")
    };
    answer::json(status, &Status { status: word })
}
