//! Status of the instance, hold on all sending, rotation of the master key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::instance::SendingHold;
use stackbell_http_kit::auth::Authenticated;
use stackbell_http_kit::body::Text;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_wire::rest::operation::{HoldRequest, InstanceResponse, MasterKeyRotated, SendingResponse};
use stackbell_wire::rest::rfc3339;

use super::{INSTANCE, TAGS};
use crate::Route;

pub(super) fn routes() -> [Route; 4] {
    let describe = |id, summary| {
        Description::new(id, TAGS, summary)
            .guarded()
            .refuses(StatusCode::BAD_REQUEST, "A parameter or a field is invalid.")
    };
    let getting = describe("GetInstance", "Get the status of the instance. For operators.").response(
        StatusCode::OK,
        "Success.",
        [(JSON, one::<InstanceResponse>())],
    );
    let holding = "Hold all sending except pings and redeliveries. For operators.";
    let holding = describe("HoldSending", holding)
        .request([(JSON, one::<HoldRequest>())])
        .response(StatusCode::OK, "Success.", [(JSON, one::<SendingResponse>())])
        .refuses(StatusCode::CONFLICT, "Sending is held already.");
    let resuming = describe("ResumeSending", "Resume sending. For operators.")
        .response(StatusCode::OK, "Success.", [(JSON, one::<SendingResponse>())])
        .refuses(StatusCode::CONFLICT, "Sending is not held.");
    let rotating =
        "Seal the data keys with another master key, which the server finds or generates. For operators.";
    let rotating = describe("RotateMasterKey", rotating)
        .response(StatusCode::OK, "Success.", [(JSON, one::<MasterKeyRotated>())])
        .refuses(StatusCode::CONFLICT, "There is no other key; the message says what to do.");
    [
        Route::new(Method::GET, "/v1/instance", Need::Operator, get).described(getting),
        Route::new(Method::POST, "/v1/instance/sending/hold", Need::Operator, hold).described(holding),
        Route::new(Method::POST, "/v1/instance/sending/resume", Need::Operator, resume).described(resuming),
        Route::new(Method::POST, "/v1/instance/master-key/rotate", Need::Operator, rotate)
            .described(rotating),
    ]
}

async fn get(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let hold = context.app.sending_hold(&caller).await.map_err(about(INSTANCE))?;
    let shown = InstanceResponse { version: env!("CARGO_PKG_VERSION"), sending: show(hold.as_ref()) };
    Ok(response::json(StatusCode::OK, &shown))
}

async fn hold(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    Text(text): Text,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let request = HoldRequest::read(&text).map_err(|error| HttpError::body(INSTANCE, &error))?;
    let hold = context.app.hold_sending(&caller, request.reason.as_deref()).await;
    Ok(response::json(StatusCode::OK, &show(Some(&hold.map_err(about(INSTANCE))?))))
}

async fn resume(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    context.app.resume_sending(&caller).await.map_err(about(INSTANCE))?;
    Ok(response::json(StatusCode::OK, &show(None)))
}

async fn rotate(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let count = context.app.rotate_master_key(&caller).await.map_err(about(INSTANCE))?;
    Ok(response::json(StatusCode::OK, &MasterKeyRotated { data_keys: count as u64 }))
}

fn show(hold: Option<&SendingHold>) -> SendingResponse {
    SendingResponse {
        held: hold.is_some(),
        since: hold.map(|hold| rfc3339(hold.since)),
        reason: hold.map(|hold| hold.reason.to_string()),
    }
}
