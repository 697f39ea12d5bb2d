//! Webhook operations of our own API: list the webhooks of all scopes, get one, set options, resume.

use std::sync::Arc;

use axum::extract::{FromRequest as _, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::breaker::Breaker;
use stackbell_app::webhooks::{WEBHOOKS_LISTED_MAX, WebhookFilter, WebhookView};
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
use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_model::scope::ScopeKind;
use stackbell_model::webhook::{Format, WebhookState};
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::rfc3339;
use stackbell_wire::rest::webhook_overview::{WebhookBreaker, WebhookOptions, WebhookOverview};
use utoipa::openapi::schema::Type;

use crate::Route;

const TAGS: &[&str] = &["Webhooks"];
const WEBHOOK: &str = "Webhook";
const PATH: &str = "/v1/orgs/{orgName}/webhooks";
const PATH_OF_ONE: &str = "/v1/orgs/{orgName}/webhooks/{webhookId}";
const PATH_OF_RESUME: &str = "/v1/orgs/{orgName}/webhooks/{webhookId}/resume";
const NOT_FOUND: &str = "No such webhook, or no such organization that the caller may see.";

pub(super) fn routes() -> [Route; 4] {
    let getting = Description::new("GetAnyWebhook", TAGS, "Get a webhook of any scope, with its state.")
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<WebhookOverview>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    let setting = Description::new(
        "SetWebhookOptions",
        TAGS,
        "Change the options of a webhook that only this API has.",
    )
    .guarded()
    .request([(JSON, one::<WebhookOptions>())])
    .response(StatusCode::OK, "Success.", [(JSON, one::<WebhookOverview>())])
    .refuses(StatusCode::BAD_REQUEST, "A field is invalid.")
    .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    let resuming = "End a webhook's suspension. A webhook that is not suspended stays unchanged.";
    let resuming = Description::new("ResumeWebhook", TAGS, resuming)
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<WebhookOverview>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    [
        Route::new(Method::GET, PATH, Need::In(Permission::Read), list).described(listing()),
        Route::new(Method::GET, PATH_OF_ONE, Need::In(Permission::Read), get).described(getting),
        Route::new(Method::PATCH, PATH_OF_ONE, Need::In(Permission::EditScopedWebhooks), set)
            .described(setting),
        Route::new(Method::POST, PATH_OF_RESUME, Need::In(Permission::Redeliver), resume).described(resuming),
    ]
}

fn listing() -> Description {
    let summary = "List an organization's webhooks of all scopes, oldest first, with their state. A page may be short \
        or empty although there is a next one.";
    Description::new("ListAllWebhooks", TAGS, summary)
        .guarded()
        .query(
            "scope",
            "Only webhooks of this kind of scope: `organization`, `stack` or `environment`.",
            Type::String,
        )
        .query("project", "Only webhooks of stacks and environments in this project.", Type::String)
        .query("stack", "Only webhooks of stacks with this name.", Type::String)
        .query("environment", "Only webhooks of environments with this name.", Type::String)
        .query("active", "Only active webhooks (`true`), or only others (`false`).", Type::Boolean)
        .query("state", "Only webhooks in this state: `active`, `inactive` or `suspended`.", Type::String)
        .query("format", "Only webhooks of this format.", Type::String)
        .query(
            "text",
            "Only webhooks with this text in name, display name or host; case does not matter.",
            Type::String,
        )
        .paged("Webhooks on a page: 1 to 100, 100 if absent.")
        .response(StatusCode::OK, "Success.", [(JSON, many::<WebhookOverview>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.")
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let (filter, query) = read_filter(&uri)?;
    let request = PageRequest::read(&query, WEBHOOKS_LISTED_MAX)?;
    let after = request.after(pagination::id(WebhookId::from_uuid))?;
    let limit = request.size.unwrap_or(WEBHOOKS_LISTED_MAX);
    let page = context.app.list_all_webhooks(&at.caller, &filter, after, limit).await;
    let page = page.map_err(about(WEBHOOK))?;
    let webhooks: Vec<_> = page.items.iter().map(overview).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &webhooks, next.as_ref()))
}

fn read_filter(uri: &Uri) -> Result<(WebhookFilter, QueryTexts), HttpError> {
    let known = [
        "scope",
        "project",
        "stack",
        "environment",
        "active",
        "state",
        "format",
        "text",
        PAGE_SIZE,
        CONTINUATION_TOKEN,
    ];
    let query = QueryTexts::only(uri, &known)?;
    let text = |name| query.find(name).map(str::to_owned);
    let scopes = [ScopeKind::Organization, ScopeKind::Stack, ScopeKind::Environment];
    let scope = |text: &str| scopes.into_iter().find(|scope| scope.as_str() == text);
    let filter = WebhookFilter {
        scope: query.read(WEBHOOK, "scope", scope, "'organization', 'stack' or 'environment'")?,
        project: text("project"),
        stack: text("stack"),
        environment: text("environment"),
        active: query.read(WEBHOOK, "active", |text| text.parse().ok(), "'true' or 'false'")?,
        state: query.read(WEBHOOK, "state", WebhookState::parse, "'active', 'inactive' or 'suspended'")?,
        format: query.read(
            WEBHOOK,
            "format",
            Format::parse,
            "'raw', 'slack', 'ms_teams' or 'pulumi_deployments'",
        )?,
        text: text("text"),
    };
    Ok((filter, query))
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("webhookId");
    let found = context.app.get_any_webhook(&at.caller, id).await;
    Ok(show(&found.map_err(about(WEBHOOK))?))
}

async fn set(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    request: Request,
) -> Result<Response, HttpError> {
    let id = at.path.get("webhookId");
    // The right that is needed depends on the scope: some callers may edit only webhooks of stacks and environments.
    let allowed = context.app.require_webhook_edit(&at.caller, id).await;
    allowed.map_err(about(WEBHOOK))?;
    QueryTexts::only(request.uri(), &[])?;
    let Text(text) = Text::from_request(request, &context).await?;
    let options = WebhookOptions::read(&text).map_err(|error| HttpError::body(WEBHOOK, &error))?;
    let set = context.app.set_webhook_options(&at.caller, id, &options).await;
    Ok(show(&set.map_err(about(WEBHOOK))?))
}

async fn resume(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("webhookId");
    let resumed = context.app.resume_webhook(&at.caller, id).await;
    Ok(show(&resumed.map_err(about(WEBHOOK))?))
}

fn show(view: &WebhookView) -> Response {
    response::json(StatusCode::OK, &overview(view))
}

fn overview(view: &WebhookView) -> WebhookOverview {
    let breaker = view.breaker.as_ref().map(show_breaker);
    WebhookOverview { breaker, ..WebhookOverview::new(&view.webhook, &view.organization, view.credentials) }
}

fn show_breaker(breaker: &Breaker) -> WebhookBreaker {
    match breaker {
        Breaker::Closed => WebhookBreaker::CLOSED,
        Breaker::Open(open) => WebhookBreaker {
            state: "open",
            cause: Some(if open.is_our_fault { "our_fault" } else { "failures" }),
            until: open.until.map(rfc3339),
            because: open.because.as_deref().map(str::to_owned),
            failures: Some(open.failures),
            failing_since: open.failing_since.map(rfc3339),
        },
    }
}
