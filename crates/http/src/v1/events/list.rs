//! Lists an organization's events, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::events::{EVENTS_LISTED_MAX, StoredEvent};
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageRequest};
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_model::ids::EventKey;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::event::EventResponse;
use stackbell_wire::rest::page::Cursor;

use super::get::show;
use super::{EVENT, PATH, TAGS};
use crate::Route;

/// The default number of events on a page.
const PAGE_SIZE_DEFAULT: usize = 50;

pub(super) fn route() -> Route {
    let description = Description::new("ListEvents", TAGS, "List an organization's events, newest first.")
        .guarded()
        .paged("Events on a page: 1 to 100, 50 if absent.")
        .response(StatusCode::OK, "Success.", [(JSON, many::<EventResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    Route::new(Method::GET, PATH, Need::In(Permission::Read), list).described(description)
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let request = PageRequest::read(&query, EVENTS_LISTED_MAX)?;
    let before = request.after(pagination::id(EventKey::from_uuid))?;
    let limit = request.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let large = context.large_responses.begin().await?;
    let page = context.app.list_events(&at.caller, before, limit).await;
    let page = page.map_err(about(EVENT))?;
    let bytes = page.items.iter().map(StoredEvent::size).sum();
    let items = page.items;
    let make = move || {
        let events = items.iter().map(|stored| show(&at, &stored.event, stored.deliveries));
        events.collect::<Result<Vec<_>, _>>()
    };
    let response = large.json(bytes, make).await?;
    let next = page.next.map(|key| Cursor::Id(*key.as_uuid()));
    Ok(request.with_next(&uri, response, next.as_ref()))
}
