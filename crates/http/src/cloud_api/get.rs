//! Gets a webhook.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::one;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::response;
use stackbell_wire::rest::webhook::WebhookResponse;

use super::{Act, Operation, WEBHOOK, convert};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::GET,
    path: "/hooks/{hookName}",
    verb: "Get",
    object: "Webhook",
    summary: "Get a webhook.",
    describe: |description| {
        description.response(StatusCode::OK, "Success.", [(JSON, one::<WebhookResponse>())])
    },
    act: Act::Read,
    route: |method, path, need| Route::new(method, path, need, get),
};

async fn get(State(context): State<Arc<Context>>, at: InScope) -> Result<Response, HttpError> {
    let view = context.app.get_webhook(&at.caller, &at.scope, at.webhook()).await;
    Ok(response::json(StatusCode::OK, &convert::webhook(&view.map_err(about(WEBHOOK))?)))
}
