//! Members of an organization: list, set, remove.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::page::LISTED_MAX;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PageRequest};
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::names::Login;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::identity::{MemberRequest, MemberResponse};
use stackbell_wire::rest::page::Cursor;

use crate::Route;

const TAGS: &[&str] = &["Identity"];
const MEMBER: &str = "Member";
const LAST_ADMIN: &str = "The user is the last admin.";
const PATH: &str = "/v1/orgs/{orgName}/members";
const PATH_OF_ONE: &str = "/v1/orgs/{orgName}/members/{login}";

pub(super) fn routes() -> [Route; 3] {
    let no_organization = "No such organization that the caller may see.";
    let listing = Description::new("ListMembers", TAGS, "List the members of an organization, by login.")
        .guarded()
        .continued()
        .response(StatusCode::OK, "Success.", [(JSON, many::<MemberResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, no_organization);
    let setting =
        Description::new("SetMember", TAGS, "Make a user a member with a role, or change the role.")
            .guarded()
            .request([(JSON, one::<MemberRequest>())])
            .response(StatusCode::OK, "Success.", [(JSON, one::<MemberResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "The role is invalid.")
            .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see, or no such user.")
            .refuses(StatusCode::CONFLICT, LAST_ADMIN);
    let removing = Description::new("RemoveMember", TAGS, "End a membership.")
        .guarded()
        .empty(StatusCode::NO_CONTENT, "No content.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see, or no such member.")
        .refuses(StatusCode::CONFLICT, LAST_ADMIN);
    [
        Route::new(Method::GET, PATH, Need::In(Permission::ReadMembers), list).described(listing),
        Route::new(Method::PUT, PATH_OF_ONE, Need::In(Permission::EditMembers), set).described(setting),
        Route::new(Method::DELETE, PATH_OF_ONE, Need::In(Permission::EditMembers), remove)
            .described(removing),
    ]
}

async fn list(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let request = PageRequest::read(&QueryTexts::only(&uri, &[CONTINUATION_TOKEN])?, LISTED_MAX)?;
    let after = request.after(pagination::name(Login::parse))?;
    let page = context.app.list_members(&at.caller, after.as_ref()).await;
    let page = page.map_err(about(MEMBER))?;
    let members: Vec<_> = page.items.iter().map(|(user, role)| MemberResponse::new(user, *role)).collect();
    let next = page.next.map(|login| Cursor::Name(login.to_string()));
    Ok(request.respond(&uri, &members, next.as_ref()))
}

async fn set(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = MemberRequest::read(&text).map_err(|error| HttpError::body(MEMBER, &error))?;
    let (login, role) = (at.path.get("login"), request.role.as_deref());
    let set = context.app.set_member(&at.caller, login, role).await;
    let (user, role) = set.map_err(about(MEMBER))?;
    Ok(response::json(StatusCode::OK, &MemberResponse::new(&user, role)))
}

async fn remove(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let removed = context.app.remove_member(&at.caller, at.path.get("login")).await;
    removed.map(|()| response::no_content()).map_err(about(MEMBER))
}
