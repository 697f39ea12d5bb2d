//! The instance's audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::audit::AUDIT_LISTED_MAX;
use stackbell_http_kit::auth::Authenticated;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageRequest};
use stackbell_http_kit::query::QueryTexts;
use stackbell_model::ids::AuditId;
use stackbell_wire::rest::identity::AuditResponse;
use stackbell_wire::rest::page::Cursor;

use super::TAGS;
use crate::Route;
use crate::v1::audit::{PAGE_SIZE_DEFAULT, show};

pub(super) fn route() -> Route {
    let summary = "List the changes of the instance as a whole, newest first. For operators.";
    let description = Description::new("ListInstanceAudit", TAGS, summary)
        .guarded()
        .paged("Entries on a page: 1 to 100, 50 if absent.")
        .response(StatusCode::OK, "Success.", [(JSON, many::<AuditResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.");
    Route::new(Method::GET, "/v1/instance/audit", Need::Operator, list).described(description)
}

async fn list(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let request = PageRequest::read(&query, AUDIT_LISTED_MAX)?;
    let before = request.after(pagination::id(AuditId::from_uuid))?;
    let limit = request.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.app.list_instance_audit(&caller, before, limit).await.map_err(about("Audit"))?;
    let entries: Vec<_> = page.items.into_iter().map(show).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &entries, next.as_ref()))
}
