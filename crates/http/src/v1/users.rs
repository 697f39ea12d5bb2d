//! Users: list, create.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::page::LISTED_MAX;
use stackbell_app::users::UserFields;
use stackbell_model::names::Login;
use stackbell_wire::rest::identity::{UserCreated, UserRequest, UserResponse};
use stackbell_wire::rest::page::Cursor;
use stackbell_wire::rest::rfc3339;

use crate::shared::answer;
use crate::shared::auth::Authenticated;
use crate::shared::body::Text;
use crate::shared::context::Context;
use crate::shared::description::{Description, JSON, many, one};
use crate::shared::error::{HttpError, about};
use crate::shared::need::Need;
use crate::shared::pages::{self, CONTINUATION_TOKEN, PageAsked};
use crate::shared::query::QueryTexts;
use crate::shared::routes::Route;

const TAGS: &[&str] = &["Identity"];
const USER: &str = "User";
const PATH: &str = "/v1/users";

pub(super) fn routes() -> [Route; 2] {
    let listing = Description::new("ListUsers", TAGS, "List all users, by login. For operators.")
        .guarded()
        .continued()
        .answer(StatusCode::OK, "Success.", [(JSON, many::<UserResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.");
    let creating = Description::new("CreateUser", TAGS, "Add a user, with a first token. For operators.")
        .guarded()
        .request([(JSON, one::<UserRequest>())])
        .answer(StatusCode::CREATED, "Created.", [(JSON, one::<UserCreated>())])
        .refuses(
            StatusCode::BAD_REQUEST,
            "A field is invalid, or the first token would be more than the one that makes it, or outlive it.",
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
    let asked = PageAsked::read(&QueryTexts::only(&uri, &[CONTINUATION_TOKEN])?, LISTED_MAX)?;
    let after = asked.after(pages::name(Login::parse))?;
    let page = context.app.list_users(&caller, after.as_ref()).await.map_err(about(USER))?;
    let users: Vec<_> = page.items.iter().map(UserResponse::from).collect();
    let next = page.next.map(|login| Cursor::Name(login.to_string()));
    Ok(asked.answer(&uri, &users, next.as_ref()))
}

async fn create(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = UserRequest::read(&text).map_err(|error| HttpError::body(USER, &error))?;
    let fields = UserFields {
        login: request.login,
        name: request.name,
        email: request.email,
        avatar_url: request.avatar_url,
        operator: request.operator,
        role: request.role,
        expires_at: request.expires_at,
    };
    let (user, token) = context.app.create_user(&caller, &fields).await.map_err(about(USER))?;
    let created = UserCreated {
        user: (&user).into(),
        token: token.secret.expose().to_owned(),
        token_role: token.token.role.as_str(),
        token_expires_at: token.token.expires_at.map(rfc3339),
    };
    Ok(answer::json(StatusCode::CREATED, &created))
}
