//! The instance's audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::audit::AUDIT_LISTED_MAX;
use stackbell_model::ids::AuditId;
use stackbell_wire::rest::identity::AuditResponse;
use stackbell_wire::rest::page::Cursor;

use super::TAGS;
use crate::shared::auth::Authenticated;
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON, many};
use crate::shared::error::{HttpError, about};
use crate::shared::need::Need;
use crate::shared::pages::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageAsked};
use crate::shared::query::QueryTexts;
use crate::shared::routes::Route;
use crate::v1::audit::{PAGE_SIZE_DEFAULT, show};

pub(super) fn route() -> Route {
    let summary = "List what was changed in the instance as a whole, newest first. For operators.";
    let description = Description::new("ListInstanceAudit", TAGS, summary)
        .guarded()
        .paged("Entries on a page: 1 to 100, 50 if absent.")
        .answer(StatusCode::OK, "Success.", [(JSON, many::<AuditResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.");
    Route::new(Method::GET, "/v1/instance/audit", Need::Operator, list).described(description)
}

async fn list(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let asked = PageAsked::read(&query, AUDIT_LISTED_MAX)?;
    let before = asked.after(pages::id(AuditId::from_uuid))?;
    let limit = asked.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.app.list_instance_audit(&caller, before, limit).await.map_err(about("Audit"))?;
    let entries: Vec<_> = page.items.into_iter().map(show).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(asked.answer(&uri, &entries, next.as_ref()))
}
