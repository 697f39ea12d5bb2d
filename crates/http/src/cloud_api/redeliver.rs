//! Makes one more attempt of a delivery. The body is ignored.

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
    path: "/hooks/{hookName}/deliveries/{event}/redeliver",
    verb: "Redeliver",
    object: "WebhookEvent",
    summary: "Deliver an event again.",
    describe: |description| {
        description.response(StatusCode::OK, "Success.", [(JSON, one::<WebhookDelivery>())])
    },
    act: Act::Redeliver,
    route: |method, path, need| Route::new(method, path, need, redeliver),
};

async fn redeliver(State(context): State<Arc<Context>>, at: InScope) -> Result<Response, HttpError> {
    let app = &context.app;
    let view = app.redeliver(&at.caller, &at.scope, at.webhook(), at.event()).await;
    Ok(response::json(StatusCode::OK, &convert::delivery(&view.map_err(about(WEBHOOK))?)))
}
