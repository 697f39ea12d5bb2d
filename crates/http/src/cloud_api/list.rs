//! Lists the webhooks of a scope, oldest first. The response is the whole array, unless the request asks for a page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::many;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::pagination::{self, PageRequest};
use stackbell_http_kit::query::QueryTexts;
use stackbell_model::ids::WebhookId;
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::webhook::WebhookResponse;

use super::{Act, Operation, WEBHOOK, convert};
use crate::Route;
use crate::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::GET,
    path: "/hooks",
    verb: "List",
    object: "Webhooks",
    summary: "List webhooks.",
    describe: |description| {
        description
            .paged("Webhooks on a page: 1 to the limit of a scope (1000); the whole list if absent.")
            .response(StatusCode::OK, "Success.", [(JSON, many::<WebhookResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
    },
    act: Act::Read,
    route: |method, path, need| Route::new(method, path, need, list),
};

async fn list(State(context): State<Arc<Context>>, at: InScope, uri: Uri) -> Result<Response, HttpError> {
    let limit = context.app.webhooks_in_scope_max();
    let request = PageRequest::read(&QueryTexts::any(&uri)?, limit)?;
    let after = request.after(pagination::id(WebhookId::from_uuid))?;
    let limit = request.size.unwrap_or(limit);
    let page = context.app.list_webhooks(&at.caller, &at.scope, after, limit).await;
    let page = page.map_err(about(WEBHOOK))?;
    let webhooks: Vec<_> = page.items.iter().map(convert::webhook).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &webhooks, next.as_ref()))
}
