//! Deletes a webhook. A webhook that does not exist is no error. Source: wire-facts.md#delete.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::response;

use super::{Act, Operation, WEBHOOK};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::DELETE,
    path: "/hooks/{hookName}",
    verb: "Delete",
    object: "Webhook",
    summary: "Delete a webhook.",
    describe: |description| description.empty(StatusCode::NO_CONTENT, "No content."),
    act: Act::Edit,
    route: |method, path, need| Route::new(method, path, need, delete),
};

async fn delete(State(context): State<Arc<Context>>, at: InScope) -> Result<Response, HttpError> {
    let app = &context.app;
    let deleted = app.delete_webhook(&at.caller, &at.scope, at.webhook()).await;
    deleted.map(|()| response::no_content()).map_err(about(WEBHOOK))
}
