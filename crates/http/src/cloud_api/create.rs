//! Registers a webhook.

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
    method: Method::POST,
    path: "/hooks",
    verb: "Create",
    object: "Webhook",
    summary: "Create a webhook.",
    describe: |description| {
        description
            .request([(JSON, one::<WebhookRequest>())])
            .response(StatusCode::CREATED, "Created.", [(JSON, one::<WebhookResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "Body does not match the URL, or a field is invalid.")
            .refuses(StatusCode::CONFLICT, "A webhook with this name already exists in the scope.")
    },
    act: Act::Edit,
    route: |method, path, need| Route::new(method, path, need, create),
};

async fn create(
    State(context): State<Arc<Context>>,
    at: InScope,
    Text(text): Text,
) -> Result<Response, HttpError> {
    let request = convert::read_request(&text)?;
    let view = context.app.create_webhook(&at.caller, at.scope, &request).await;
    Ok(response::json(StatusCode::CREATED, &convert::webhook(&view.map_err(about(WEBHOOK))?)))
}
