//! An organization's credential for starting deployments: get, set, remove.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::operation::{DeploymentsRequest, DeploymentsResponse};
use stackbell_wire::rest::rfc3339;

use crate::Route;

const TAGS: &[&str] = &["Deployments"];
const DEPLOYMENTS: &str = "Deployments";
const PATH: &str = "/v1/orgs/{orgName}/deployments";
const NOT_FOUND: &str = "There is no credential, or no such organization that the caller may see.";

pub(super) fn routes() -> [Route; 3] {
    let getting =
        "Get the credential that starts deployments for webhooks of format pulumi_deployments. For admins.";
    let getting = Description::new("GetDeployments", TAGS, getting)
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<DeploymentsResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    let setting =
        Description::new("SetDeployments", TAGS, "Set the credential that starts deployments. For admins.")
            .guarded()
            .request([(JSON, one::<DeploymentsRequest>())])
            .response(StatusCode::OK, "Success.", [(JSON, one::<DeploymentsResponse>())])
            .refuses(StatusCode::BAD_REQUEST, "A field is invalid.")
            .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    let removing = Description::new(
        "RemoveDeployments",
        TAGS,
        "Remove the credential that starts deployments. For admins.",
    )
    .guarded()
    .empty(StatusCode::NO_CONTENT, "No content.")
    .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
    .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    [
        Route::new(Method::GET, PATH, Need::In(Permission::EditDeployments), get).described(getting),
        Route::new(Method::PUT, PATH, Need::In(Permission::EditDeployments), set).described(setting),
        Route::new(Method::DELETE, PATH, Need::In(Permission::EditDeployments), remove).described(removing),
    ]
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let found = context.app.get_deployments(&at.caller).await;
    Ok(response::json(StatusCode::OK, &show(&found.map_err(about(DEPLOYMENTS))?)))
}

async fn set(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = DeploymentsRequest::read(&text).map_err(|error| HttpError::body(DEPLOYMENTS, &error))?;
    let set = context.app.set_deployments(&at.caller, &request).await;
    Ok(response::json(StatusCode::OK, &show(&set.map_err(about(DEPLOYMENTS))?)))
}

async fn remove(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let removed = context.app.remove_deployments(&at.caller).await;
    removed.map(|()| response::no_content()).map_err(about(DEPLOYMENTS))
}

fn show(credential: &DeploymentsCredential) -> DeploymentsResponse {
    DeploymentsResponse {
        api_url: credential.api_url.to_string(),
        has_token: true,
        stacks: credential.stacks.iter().map(ToString::to_string).collect(),
        set_at: rfc3339(credential.set_at),
    }
}
