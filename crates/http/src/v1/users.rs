//! Users: list, create.

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
use stackbell_model::names::Login;
use stackbell_wire::rest::identity::{UserCreated, UserRequest, UserResponse};
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::rfc3339;

use crate::Route;

const TAGS: &[&str] = &["Identity"];
const USER: &str = "User";
const PATH: &str = "/v1/users";

pub(super) fn routes() -> [Route; 2] {
    let listing = Description::new("ListUsers", TAGS, "List all users, by login. For operators.")
        .guarded()
        .continued()
        .response(StatusCode::OK, "Success.", [(JSON, many::<UserResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.");
    let creating = Description::new("CreateUser", TAGS, "Add a user, with a first token. For operators.")
        .guarded()
        .request([(JSON, one::<UserRequest>())])
        .response(StatusCode::CREATED, "Created.", [(JSON, one::<UserCreated>())])
        .refuses(
            StatusCode::BAD_REQUEST,
            "A field is invalid, or the first token would have more rights than the caller's or outlive it.",
        )
        .refuses(StatusCode::CONFLICT, "The login is taken.");
    [
        Route::new(Method::GET, PATH, Need::Operator, list).described(listing),
        Route::new(Method::POST, PATH, Need::Operator, create).described(creating),
    ]
}

async fn list(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    let request = PageRequest::read(&QueryTexts::only(&uri, &[CONTINUATION_TOKEN])?, LISTED_MAX)?;
    let after = request.after(pagination::name(Login::parse))?;
    let page = context.app.list_users(&caller, after.as_ref()).await.map_err(about(USER))?;
    let users: Vec<_> = page.items.iter().map(UserResponse::from).collect();
    let next = page.next.map(|login| Cursor::Name(login.to_string()));
    Ok(request.respond(&uri, &users, next.as_ref()))
}

async fn create(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = UserRequest::read(&text).map_err(|error| HttpError::body(USER, &error))?;
    let (user, token) = context.app.create_user(&caller, &request).await.map_err(about(USER))?;
    let created = UserCreated {
        user: (&user).into(),
        token: token.secret.expose().to_owned(),
        token_role: token.token.role.as_str(),
        token_expires_at: token.token.expires_at.map(rfc3339),
    };
    Ok(response::json(StatusCode::CREATED, &created))
}
