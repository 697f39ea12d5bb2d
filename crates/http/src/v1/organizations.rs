//! Organizations: list, create.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::page::LISTED_MAX;
use stackbell_http_kit::auth::Authenticated;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PageRequest};
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::names::OrganizationName;
use stackbell_wire::rest::identity::{OrganizationRequest, OrganizationResponse};
use stackbell_wire::rest::page::Cursor;

use crate::Route;

const TAGS: &[&str] = &["Identity"];
const ORGANIZATION: &str = "Organization";
const PATH: &str = "/v1/orgs";

pub(super) fn routes() -> [Route; 2] {
    let listing = Description::new(
        "ListOrganizations",
        TAGS,
        "List the organizations that the caller may see, by name.",
    )
    .guarded()
    .continued()
    .response(StatusCode::OK, "Success.", [(JSON, many::<OrganizationResponse>())])
    .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.");
    let creating = Description::new("CreateOrganization", TAGS, "Make an organization. For operators.")
        .guarded()
        .request([(JSON, one::<OrganizationRequest>())])
        .response(StatusCode::CREATED, "Created.", [(JSON, one::<OrganizationResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A field is invalid.")
        .refuses(StatusCode::CONFLICT, "The name is taken.");
    [
        Route::new(Method::GET, PATH, Need::Token, list).described(listing),
        Route::new(Method::POST, PATH, Need::Operator, create).described(creating),
    ]
}

async fn list(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    let request = PageRequest::read(&QueryTexts::only(&uri, &[CONTINUATION_TOKEN])?, LISTED_MAX)?;
    let after = request.after(pagination::name(OrganizationName::parse))?;
    let page = context.app.list_organizations(&caller, after.as_ref()).await.map_err(about(ORGANIZATION))?;
    let organizations: Vec<_> = page.items.iter().map(OrganizationResponse::from).collect();
    let next = page.next.map(|name| Cursor::Name(name.to_string()));
    Ok(request.respond(&uri, &organizations, next.as_ref()))
}

async fn create(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = OrganizationRequest::read(&text).map_err(|error| HttpError::body(ORGANIZATION, &error))?;
    let organization =
        context.app.create_organization(&caller, &request).await.map_err(about(ORGANIZATION))?;
    Ok(response::json(StatusCode::CREATED, &OrganizationResponse::from(&organization)))
}
