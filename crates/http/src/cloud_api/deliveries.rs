//! Lists a webhook's newest attempts. The list of a webhook that does not exist is empty.
//! Source: wire-facts.md#webhook-delivery.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::many;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_wire::rest::webhook_delivery::WebhookDelivery;

use super::{Act, Operation, WEBHOOK, convert};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::GET,
    path: "/hooks/{hookName}/deliveries",
    verb: "Get",
    object: "WebhookDeliveries",
    summary: "List the newest attempts of a webhook's deliveries.",
    describe: |description| {
        description.response(StatusCode::OK, "Success.", [(JSON, many::<WebhookDelivery>())])
    },
    act: Act::Read,
    route: |method, path, need| Route::new(method, path, need, deliveries),
};

async fn deliveries(State(context): State<Arc<Context>>, at: InScope) -> Result<Response, HttpError> {
    let large = context.large_responses.begin().await?;
    let views = context.app.list_attempts(&at.caller, &at.scope, at.webhook()).await;
    let views = views.map_err(about(WEBHOOK))?;
    let bytes = views.iter().map(|view| view.attempt.size()).sum();
    large.json(bytes, move || Ok(views.iter().map(convert::delivery).collect::<Vec<_>>())).await
}
