//! Gets an event.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::event::Event;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::event::EventResponse;

use super::{EVENT, TAGS};
use crate::Route;

pub(super) fn route() -> Route {
    let description = Description::new("GetEvent", TAGS, "Get an event.")
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<EventResponse>())])
        .refuses(StatusCode::NOT_FOUND, "No such event, or no such organization that the caller may see.");
    Route::new(Method::GET, "/v1/orgs/{orgName}/events/{eventId}", Need::In(Permission::Read), get)
        .described(description)
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let stored = context.app.get_event(&at.caller, at.path.get("eventId")).await;
    let stored = stored.map_err(about(EVENT))?;
    Ok(response::json(StatusCode::OK, &show(&at, &stored.event, stored.deliveries)?))
}

/// An event of the organization in the path.
pub(super) fn show(at: &InOrganization, event: &Event, deliveries: u32) -> Result<EventResponse, HttpError> {
    let organization = &at.caller.organization().name;
    let shown = EventResponse::new(event, organization, u64::from(deliveries));
    shown.map_err(|error| HttpError::internal("the event could not be read", error))
}
