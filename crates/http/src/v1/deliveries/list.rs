//! Lists an organization's deliveries, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::deliveries::organization::{DELIVERIES_LISTED_MAX, DeliveryFilter, KindFilter};
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PAGE_SIZE, PageRequest};
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::{MOMENT, QueryTexts};
use stackbell_model::delivery::StateKind;
use stackbell_model::filter::EventKind;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_model::names::{EnvironmentName, ProjectName, StackName};
use stackbell_model::permission::Permission;
use stackbell_model::scope::Subject;
use stackbell_wire::rest::delivery::DeliveryResponse;
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::read_rfc3339;
use utoipa::openapi::schema::Type;

use super::show::show;
use super::{DELIVERY, PATH, TAGS};
use crate::Route;

/// The default number of deliveries on a page.
const PAGE_SIZE_DEFAULT: usize = 50;

pub(super) fn route() -> Route {
    let summary = "List an organization's deliveries, newest first. A page may be short or empty although \
        there is a next one.";
    let description = Description::new("ListAllDeliveries", TAGS, summary)
        .guarded()
        .query("webhook", "Only deliveries of the webhook with this id.", Type::String)
        .query(
            "project",
            "Only events about a stack or environment of this project, which another parameter names.",
            Type::String,
        )
        .query("stack", "Only events about this stack.", Type::String)
        .query("environment", "Only events about this environment.", Type::String)
        .query("kind", "Only this kind of event, or `ping`.", Type::String)
        .query(
            "state",
            "Only deliveries that are `pending`, `succeeded`, `failed` or `cancelled`.",
            Type::String,
        )
        .query("from", "Only deliveries made at this moment (RFC 3339) or later.", Type::String)
        .query("to", "Only deliveries made before this moment (RFC 3339).", Type::String)
        .paged("Deliveries on a page: 1 to 100, 50 if absent.")
        .response(StatusCode::OK, "Success.", [(JSON, many::<DeliveryResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    Route::new(Method::GET, PATH, Need::In(Permission::Read), list).described(description)
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let known = [
        "webhook",
        "project",
        "stack",
        "environment",
        "kind",
        "state",
        "from",
        "to",
        PAGE_SIZE,
        CONTINUATION_TOKEN,
    ];
    let query = QueryTexts::only(&uri, &known)?;
    let filter = read_filter(&query)?;
    let request = PageRequest::read(&query, DELIVERIES_LISTED_MAX)?;
    let before = request.after(pagination::id(DeliveryId::from_uuid))?;
    let limit = request.size.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.app.list_deliveries(&at.caller, &filter, before, limit).await;
    let page = page.map_err(about(DELIVERY))?;
    let deliveries: Vec<_> = page.items.iter().map(show).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(&uri, &deliveries, next.as_ref()))
}

fn read_filter(query: &QueryTexts) -> Result<DeliveryFilter, HttpError> {
    let kind = |text: &str| match text {
        "ping" => Some(KindFilter::Ping),
        text => EventKind::parse(text).map(KindFilter::Event),
    };
    Ok(DeliveryFilter {
        webhook: query.read(DELIVERY, "webhook", WebhookId::parse, "the id of a webhook")?,
        subject: read_subject(query)?,
        kind: query.read(DELIVERY, "kind", kind, &kinds())?,
        state: query.read(
            DELIVERY,
            "state",
            StateKind::parse,
            "'pending', 'succeeded', 'failed' or 'cancelled'",
        )?,
        from: query.read(DELIVERY, "from", read_rfc3339, MOMENT)?,
        to: query.read(DELIVERY, "to", read_rfc3339, MOMENT)?,
    })
}

/// The rule of `kind`.
fn kinds() -> String {
    let kinds = EventKind::ALL.iter().map(|kind| kind.as_str());
    format!("one of {}", std::iter::once("ping").chain(kinds).collect::<Vec<_>>().join(", "))
}

fn read_subject(query: &QueryTexts) -> Result<Option<Subject>, HttpError> {
    let rule = "a valid name";
    let project = query.read(DELIVERY, "project", |text| ProjectName::parse(text).ok(), rule)?;
    let stack = query.read(DELIVERY, "stack", |text| StackName::parse(text).ok(), rule)?;
    let environment = query.read(DELIVERY, "environment", |text| EnvironmentName::parse(text).ok(), rule)?;
    match (project, stack, environment) {
        (None, None, None) => Ok(None),
        (Some(project), Some(stack), None) => Ok(Some(Subject::Stack { project, stack })),
        (Some(project), None, Some(environment)) => Ok(Some(Subject::Environment { project, environment })),
        _ => {
            let detail = "project goes with either stack or environment, and each of them with project";
            Err(HttpError::invalid(DELIVERY, "project", detail))
        }
    }
}
