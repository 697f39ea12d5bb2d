//! The audit log: list.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::audit::{AUDIT_LISTED_MAX, AuditRecord};
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageRequest};
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_model::ids::AuditId;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::identity::AuditResponse;
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::rfc3339;

use crate::Route;

/// The default number of entries on a page.
pub(super) const PAGE_SIZE_DEFAULT: usize = 50;

pub(super) fn routes() -> [Route; 1] {
    let summary = "List the changes in an organization, newest first. For admins.";
    let description = Description::new("ListAudit", &["Identity"], summary)
        .guarded()
        .paged("Entries on a page: 1 to 100, 50 if absent.")
        .response(StatusCode::OK, "Success.", [(JSON, many::<AuditResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    [Route::new(Method::GET, "/v1/orgs/{orgName}/audit", Need::In(Permission::ReadAudit), list)
        .described(description)]
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let request = PageRequest::read(&query, AUDIT_LISTED_MAX)?;
    let before = request.after(pagination::id(AuditId::from_uuid))?;
    let limit = request.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.app.list_audit(&at.caller, before, limit).await;
    let page = page.map_err(about("Audit"))?;
    let entries: Vec<_> = page.items.into_iter().map(show).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &entries, next.as_ref()))
}

pub(super) fn show(record: AuditRecord) -> AuditResponse {
    AuditResponse {
        id: record.id.to_string(),
        at: rfc3339(record.at),
        actor: record.actor,
        token_id: record.token.map(|id| id.to_string()),
        remote: record.remote,
        action: record.action,
        target: record.target,
        fields: record.fields,
    }
}
