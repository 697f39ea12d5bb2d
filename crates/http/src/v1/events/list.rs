//! Lists an organization's events, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::events::{EVENTS_LISTED_MAX, StoredEvent};
use stackbell_model::ids::EventKey;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::event::EventResponse;
use stackbell_wire::rest::page::Cursor;

use super::get::show;
use super::{EVENT, PATH, TAGS};
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON, many};
use crate::shared::error::{HttpError, about};
use crate::shared::need::Need;
use crate::shared::pages::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageAsked};
use crate::shared::path::InOrganization;
use crate::shared::query::QueryTexts;
use crate::shared::routes::Route;

/// Events on a page where nothing else is asked for.
const PAGE_SIZE_DEFAULT: usize = 50;

pub(super) fn route() -> Route {
    let description = Description::new("ListEvents", TAGS, "List an organization's events, newest first.")
        .guarded()
        .paged("Events on a page: 1 to 100, 50 if absent.")
        .answer(StatusCode::OK, "Success.", [(JSON, many::<EventResponse>())])
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
    let asked = PageAsked::read(&query, EVENTS_LISTED_MAX)?;
    let before = asked.after(pages::id(EventKey::from_uuid))?;
    let limit = asked.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let answer = context.large.begin().await?;
    let page = context.app.list_events(&at.caller, &at.organization, before, limit).await;
    let page = page.map_err(about(EVENT))?;
    let bytes = page.items.iter().map(StoredEvent::size).sum();
    let items = page.items;
    let make = move || {
        let events = items.iter().map(|stored| show(&at, &stored.event, stored.deliveries));
        events.collect::<Result<Vec<_>, _>>()
    };
    let response = answer.json(bytes, make).await?;
    let next = page.next.map(|key| Cursor::Id(*key.as_uuid()));
    Ok(asked.lead_on(&uri, response, next.as_ref()))
}
