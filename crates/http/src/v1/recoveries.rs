//! Recoveries: create, list, get.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::recoveries::RECOVERIES_LISTED_MAX;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageRequest};
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::ids::RecoveryId;
use stackbell_model::permission::Permission;
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_wire::rest::operation::{RecoveryRequest, RecoveryResponse};
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::rfc3339;

use crate::Route;

const TAGS: &[&str] = &["Deliveries"];
const RECOVERY: &str = "Recovery";
const PATH_OF_WEBHOOK: &str = "/v1/orgs/{orgName}/webhooks/{webhookId}/recoveries";
const PATH: &str = "/v1/orgs/{orgName}/recoveries";
const PATH_OF_ONE: &str = "/v1/orgs/{orgName}/recoveries/{recoveryId}";

/// The default number of recoveries on a page.
const PAGE_SIZE_DEFAULT: usize = 50;

pub(super) fn routes() -> [Route; 3] {
    let creating = "Start a recovery: failed and cancelled deliveries of a webhook that were made since a moment start again.";
    let creating = Description::new("CreateRecovery", TAGS, creating)
        .guarded()
        .request([(JSON, one::<RecoveryRequest>())])
        .response(StatusCode::ACCEPTED, "Started.", [(JSON, one::<RecoveryResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A field is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such webhook, or no such organization that the caller may see.")
        .refuses(StatusCode::CONFLICT, "The webhook has a recovery that is running.");
    let listing =
        Description::new("ListRecoveries", TAGS, "List an organization's recoveries, newest first.")
            .guarded()
            .paged("Recoveries on a page: 1 to 100, 50 if absent.")
            .response(StatusCode::OK, "Success.", [(JSON, many::<RecoveryResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
            .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    let getting = Description::new("GetRecovery", TAGS, "Get a recovery with its progress.")
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<RecoveryResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such recovery, or no such organization that the caller may see.");
    [
        Route::new(Method::POST, PATH_OF_WEBHOOK, Need::In(Permission::Redeliver), create)
            .described(creating),
        Route::new(Method::GET, PATH, Need::In(Permission::Read), list).described(listing),
        Route::new(Method::GET, PATH_OF_ONE, Need::In(Permission::Read), get).described(getting),
    ]
}

async fn create(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = RecoveryRequest::read(&text).map_err(|error| HttpError::body(RECOVERY, &error))?;
    let webhook = at.path.get("webhookId");
    let created = context.app.create_recovery(&at.caller, webhook, request.since).await;
    Ok(response::json(StatusCode::ACCEPTED, &show(&created.map_err(about(RECOVERY))?)))
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let request = PageRequest::read(&query, RECOVERIES_LISTED_MAX)?;
    let before = request.after(pagination::id(RecoveryId::from_uuid))?;
    let limit = request.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.app.list_recoveries(&at.caller, before, limit).await;
    let page = page.map_err(about(RECOVERY))?;
    let recoveries: Vec<_> = page.items.iter().map(show).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &recoveries, next.as_ref()))
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("recoveryId");
    let found = context.app.get_recovery(&at.caller, id).await;
    Ok(response::json(StatusCode::OK, &show(&found.map_err(about(RECOVERY))?)))
}

fn show(recovery: &Recovery) -> RecoveryResponse {
    RecoveryResponse {
        id: recovery.id.to_string(),
        webhook: recovery.webhook.to_string(),
        since: rfc3339(recovery.since),
        created_at: rfc3339(recovery.created_at),
        created_by: recovery.created_by.to_string(),
        state: recovery.state.as_str(),
        total: recovery.total,
        rearmed: recovery.rearmed,
        ended_at: match recovery.state {
            RecoveryState::Running => None,
            RecoveryState::Done { at } | RecoveryState::Abandoned { at } => Some(rfc3339(at)),
        },
    }
}
