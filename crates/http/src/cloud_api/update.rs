//! Changes a webhook. The meaning of absent fields: wire-facts.md#update-rule.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::one;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::response;
use stackbell_wire::rest::webhook::{WebhookRequest, WebhookResponse};

use super::{Act, Operation, WEBHOOK, convert};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::PATCH,
    path: "/hooks/{hookName}",
    verb: "Update",
    object: "Webhook",
    summary: "Update a webhook.",
    describe: |description| {
        description
            .request([(JSON, one::<WebhookRequest>())])
            .response(StatusCode::OK, "Success.", [(JSON, one::<WebhookResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "Body does not match the URL, or a field is invalid.")
    },
    act: Act::Edit,
    route: |method, path, need| Route::new(method, path, need, update),
};

async fn update(
    State(context): State<Arc<Context>>,
    at: InScope,
    Text(text): Text,
) -> Result<Response, HttpError> {
    let request = convert::read_request(&text)?;
    let app = &context.app;
    let view = app.edit_webhook(&at.caller, &at.scope, at.webhook(), &request).await;
    Ok(response::json(StatusCode::OK, &convert::webhook(&view.map_err(about(WEBHOOK))?)))
}
