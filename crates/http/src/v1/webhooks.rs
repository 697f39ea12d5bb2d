//! What our own API adds to webhooks: list those of all scopes, switch Standard Webhooks, resume.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::webhooks::{WEBHOOKS_LISTED_MAX, WebhookView};
use stackbell_model::ids::WebhookId;
use stackbell_wire::rest::overview::{WebhookOptions, WebhookOverview};
use stackbell_wire::rest::page::Cursor;

use crate::shared::answer;
use crate::shared::body::Text;
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON, many, one};
use crate::shared::error::{HttpError, about};
use crate::shared::pages::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageAsked};
use crate::shared::path::InOrganization;
use crate::shared::query::QueryTexts;
use crate::shared::routes::Route;

const TAGS: &[&str] = &["Webhooks"];
const WEBHOOK: &str = "Webhook";
const PATH: &str = "/v1/orgs/{orgName}/webhooks";
const PATH_OF_ONE: &str = "/v1/orgs/{orgName}/webhooks/{webhookId}";
const PATH_OF_RESUME: &str = "/v1/orgs/{orgName}/webhooks/{webhookId}/resume";

pub(super) fn routes() -> [Route; 3] {
    let not_found = "No such webhook, or no such organization that the caller may see.";
    let listing = "List an organization's webhooks of all scopes, oldest first, with their state.";
    let listing = Description::new("ListAllWebhooks", TAGS, listing)
        .guarded()
        .paged("Webhooks on a page: 1 to 100, 100 if absent.")
        .answer(StatusCode::OK, "Success.", [(JSON, many::<WebhookOverview>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    let setting =
        Description::new("SetWebhookOptions", TAGS, "Switch the headers of Standard Webhooks on or off.")
            .guarded()
            .request([(JSON, one::<WebhookOptions>())])
            .answer(StatusCode::OK, "Success.", [(JSON, one::<WebhookOverview>())])
            .refuses(StatusCode::BAD_REQUEST, "A field is invalid.")
            .refuses(StatusCode::NOT_FOUND, not_found);
    let resuming = "End a webhook's suspension. One that is not suspended stays as it is.";
    let resuming = Description::new("ResumeWebhook", TAGS, resuming)
        .guarded()
        .answer(StatusCode::OK, "Success.", [(JSON, one::<WebhookOverview>())])
        .refuses(StatusCode::NOT_FOUND, not_found);
    [
        Route::new(Method::GET, PATH, list).described(listing),
        Route::new(Method::PATCH, PATH_OF_ONE, set).described(setting),
        Route::new(Method::POST, PATH_OF_RESUME, resume).described(resuming),
    ]
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN])?;
    let asked = PageAsked::read(&query, WEBHOOKS_LISTED_MAX)?;
    let after = asked.after(pages::id(WebhookId::from_uuid))?;
    let limit = asked.size.unwrap_or(WEBHOOKS_LISTED_MAX);
    let page = context.app.list_all_webhooks(&at.caller, &at.organization, after, limit).await;
    let page = page.map_err(about(WEBHOOK))?;
    let webhooks: Vec<_> = page.items.iter().map(|view| WebhookOverview::from(&view.webhook)).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(asked.answer(&uri, &webhooks, next.as_ref()))
}

async fn set(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let options = WebhookOptions::read(&text).map_err(|error| HttpError::body(WEBHOOK, &error))?;
    let (id, headers) = (at.path.get("webhookId"), options.standard_headers);
    let set = context.app.set_standard_headers(&at.caller, &at.organization, id, headers).await;
    Ok(show(&set.map_err(about(WEBHOOK))?))
}

async fn resume(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("webhookId");
    let resumed = context.app.resume_webhook(&at.caller, &at.organization, id).await;
    Ok(show(&resumed.map_err(about(WEBHOOK))?))
}

fn show(view: &WebhookView) -> Response {
    answer::json(StatusCode::OK, &WebhookOverview::from(&view.webhook))
}
