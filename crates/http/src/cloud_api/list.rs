//! Lists the webhooks of a scope, oldest first. The whole array, unless a page of it is asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_model::ids::WebhookId;
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::webhook::WebhookResponse;

use super::{Act, Operation, WEBHOOK, convert};
use crate::shared::context::Context;
use crate::shared::description::{JSON, many};
use crate::shared::error::{HttpError, about};
use crate::shared::pages::{self, PageAsked};
use crate::shared::query::QueryTexts;
use crate::shared::routes::Route;
use crate::shared::scope::InScope;

pub(super) const OPERATION: Operation = Operation {
    method: Method::GET,
    path: "/hooks",
    verb: "List",
    object: "Webhooks",
    summary: "List webhooks.",
    describe: |description| {
        description
            .paged("Cuts the list into pages of 1 to as many as a scope may have (1000); the whole list if absent.")
            .answer(StatusCode::OK, "Success.", [(JSON, many::<WebhookResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
    },
    act: Act::Read,
    route: |method, path, need| Route::new(method, path, need, list),
};

async fn list(State(context): State<Arc<Context>>, at: InScope, uri: Uri) -> Result<Response, HttpError> {
    let limit = context.app.webhooks_in_scope_max();
    let asked = PageAsked::read(&QueryTexts::any(&uri)?, limit)?;
    let after = asked.after(pages::id(WebhookId::from_uuid))?;
    let limit = asked.size.unwrap_or(limit);
    let page = context.app.list_webhooks(&at.caller, &at.organization, &at.scope, after, limit).await;
    let page = page.map_err(about(WEBHOOK))?;
    let webhooks: Vec<_> = page.items.iter().map(convert::webhook).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(asked.answer(&uri, &webhooks, next.as_ref()))
}
