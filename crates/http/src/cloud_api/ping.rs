//! Pings a webhook. The body is ignored: clients declare JSON and send none.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::one;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::response;
use stackbell_wire::rest::webhook_delivery::WebhookDelivery;

use super::{Act, Operation, WEBHOOK, convert};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::POST,
    path: "/hooks/{hookName}/ping",
    verb: "Ping",
    object: "Webhook",
    summary: "Ping a webhook.",
    describe: |description| {
        description.response(StatusCode::OK, "Success.", [(JSON, one::<WebhookDelivery>())])
    },
    act: Act::Redeliver,
    route: |method, path, need| Route::new(method, path, need, ping),
};

async fn ping(State(context): State<Arc<Context>>, at: InScope) -> Result<Response, HttpError> {
    let view = context.app.ping(&at.caller, &at.scope, at.webhook()).await;
    Ok(response::json(StatusCode::OK, &convert::delivery(&view.map_err(about(WEBHOOK))?)))
}
