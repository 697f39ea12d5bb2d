//! Access tokens of the caller, of another user and of an organization: list, create, revoke.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::page::LISTED_MAX;
use stackbell_app::tokens::ManagedTokens;
use stackbell_http_kit::auth::Authenticated;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, many, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::pagination::{self, CONTINUATION_TOKEN, PageRequest};
use stackbell_http_kit::path::{InOrganization, PathTexts};
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::ids::TokenId;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::identity::{TokenCreated, TokenRequest, TokenResponse};
use stackbell_wire::rest::page::Cursor;

use crate::Route;

const TAGS: &[&str] = &["Identity"];
const TOKEN: &str = "Token";
const OWN: &str = "/v1/user/tokens";
const OWN_ONE: &str = "/v1/user/tokens/{tokenId}";
const USERS: &str = "/v1/users/{login}/tokens";
const USERS_ONE: &str = "/v1/users/{login}/tokens/{tokenId}";
const SERVICE: &str = "/v1/orgs/{orgName}/tokens";
const SERVICE_ONE: &str = "/v1/orgs/{orgName}/tokens/{tokenId}";

pub(super) fn routes() -> [Route; 9] {
    [
        Route::new(Method::GET, OWN, Need::User, list_own)
            .described(listing("ListOwnTokens", "List the caller's tokens.")),
        Route::new(Method::POST, OWN, Need::User, create_own)
            .described(creating("CreateOwnToken", "Make a token for the caller.")),
        Route::new(Method::DELETE, OWN_ONE, Need::User, revoke_own)
            .described(revoking("RevokeOwnToken", "Revoke a token of the caller.")),
        Route::new(Method::GET, USERS, Need::Operator, list_users)
            .described(listing("ListUserTokens", "List a user's tokens. For operators.")),
        Route::new(Method::POST, USERS, Need::Operator, create_users)
            .described(creating("CreateUserToken", "Make a token for a user. For operators.")),
        Route::new(Method::DELETE, USERS_ONE, Need::Operator, revoke_users)
            .described(revoking("RevokeUserToken", "Revoke a token of a user. For operators.")),
        Route::new(Method::GET, SERVICE, Need::In(Permission::EditMembers), list_service)
            .described(listing("ListServiceTokens", "List an organization's service tokens.")),
        Route::new(Method::POST, SERVICE, Need::In(Permission::EditMembers), create_service)
            .described(creating("CreateServiceToken", "Make a service token.")),
        Route::new(Method::DELETE, SERVICE_ONE, Need::In(Permission::EditMembers), revoke_service)
            .described(revoking("RevokeServiceToken", "Revoke a service token.")),
    ]
}

fn listing(id: &str, summary: &str) -> Description {
    Description::new(id, TAGS, summary)
        .guarded()
        .continued()
        .response(StatusCode::OK, "Success.", [(JSON, many::<TokenResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such owner that the caller may see.")
}

fn creating(id: &str, summary: &str) -> Description {
    Description::new(id, TAGS, summary)
        .guarded()
        .request([(JSON, one::<TokenRequest>())])
        .response(StatusCode::CREATED, "Created.", [(JSON, one::<TokenCreated>())])
        .refuses(
            StatusCode::BAD_REQUEST,
            "A field is invalid, or the token would have more rights than the caller's or outlive it.",
        )
        .refuses(StatusCode::NOT_FOUND, "No such owner that the caller may see.")
        .refuses(StatusCode::CONFLICT, "The owner has reached the limit of tokens.")
}

fn revoking(id: &str, summary: &str) -> Description {
    Description::new(id, TAGS, summary)
        .guarded()
        .empty(StatusCode::NO_CONTENT, "No content.")
        .refuses(StatusCode::NOT_FOUND, "No such token or owner that the caller may see.")
}

async fn list_own(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    list(&context, &ManagedTokens::Own(caller), &uri).await
}

async fn list_users(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    path: PathTexts,
    uri: Uri,
) -> Result<Response, HttpError> {
    list(&context, &ManagedTokens::User(caller, path.get("login")), &uri).await
}

async fn list_service(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    list(&context, &ManagedTokens::Service(at.caller), &uri).await
}

async fn list(context: &Context, tokens: &ManagedTokens<'_>, uri: &Uri) -> Result<Response, HttpError> {
    let request = PageRequest::read(&QueryTexts::only(uri, &[CONTINUATION_TOKEN])?, LISTED_MAX)?;
    let after = request.after(pagination::id(TokenId::from_uuid))?;
    let page = context.app.list_tokens(tokens, after).await.map_err(about(TOKEN))?;
    let tokens: Vec<_> = page.items.iter().map(TokenResponse::from).collect();
    let next = page.next.map(|id| Cursor::Id(*id.as_uuid()));
    Ok(request.respond(uri, &tokens, next.as_ref()))
}

async fn create_own(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    create(&context, &ManagedTokens::Own(caller), &uri, &text).await
}

async fn create_users(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    path: PathTexts,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    create(&context, &ManagedTokens::User(caller, path.get("login")), &uri, &text).await
}

async fn create_service(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    create(&context, &ManagedTokens::Service(at.caller), &uri, &text).await
}

async fn create(
    context: &Context,
    tokens: &ManagedTokens<'_>,
    uri: &Uri,
    text: &str,
) -> Result<Response, HttpError> {
    QueryTexts::only(uri, &[])?;
    let request = TokenRequest::read(text).map_err(|error| HttpError::body(TOKEN, &error))?;
    let issued = context.app.create_token(tokens, &request).await.map_err(about(TOKEN))?;
    let created = TokenCreated { about: (&issued.token).into(), token: issued.secret.expose().to_owned() };
    Ok(response::json(StatusCode::CREATED, &created))
}

async fn revoke_own(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    path: PathTexts,
    uri: Uri,
) -> Result<Response, HttpError> {
    revoke(&context, &ManagedTokens::Own(caller), &path, &uri).await
}

async fn revoke_users(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    path: PathTexts,
    uri: Uri,
) -> Result<Response, HttpError> {
    revoke(&context, &ManagedTokens::User(caller, path.get("login")), &path, &uri).await
}

async fn revoke_service(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    revoke(&context, &ManagedTokens::Service(at.caller), &at.path, &uri).await
}

async fn revoke(
    context: &Context,
    tokens: &ManagedTokens<'_>,
    path: &PathTexts,
    uri: &Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(uri, &[])?;
    let revoked = context.app.revoke_token(tokens, path.get("tokenId")).await;
    revoked.map(|()| response::no_content()).map_err(about(TOKEN))
}
