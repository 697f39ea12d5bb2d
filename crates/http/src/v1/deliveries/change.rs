//! Cancels, retries and redelivers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::delivery::{AttemptResponse, DeliveryResponse};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::show::show;
use super::{DELIVERY, NOT_FOUND, TAGS};
use crate::Route;

const CANCEL: &str = "/v1/orgs/{orgName}/deliveries/{deliveryId}/cancel";
const RETRY: &str = "/v1/orgs/{orgName}/deliveries/{deliveryId}/retry";
const REDELIVER: &str = "/v1/orgs/{orgName}/deliveries/{deliveryId}/redeliver";

pub(super) fn routes() -> [Route; 3] {
    let delivery = one::<DeliveryResponse>;
    let cancelling = describe("CancelDelivery", "Cancel a pending delivery.", delivery());
    let retrying =
        "Make a delivery due now, before all others of its webhook. A failed or cancelled one starts again.";
    let retrying = describe("RetryDelivery", retrying, delivery());
    let redelivering = "Make one more attempt of a delivery, whatever its state.";
    let redelivering = describe("RedeliverDelivery", redelivering, one::<AttemptResponse>());
    [
        Route::new(Method::POST, CANCEL, Need::In(Permission::Redeliver), cancel).described(cancelling),
        Route::new(Method::POST, RETRY, Need::In(Permission::Redeliver), retry).described(retrying),
        Route::new(Method::POST, REDELIVER, Need::In(Permission::Redeliver), redeliver)
            .described(redelivering),
    ]
}

fn describe(id: &str, summary: &str, answer: RefOr<Schema>) -> Description {
    Description::new(id, TAGS, summary)
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, answer)])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, NOT_FOUND)
        .refuses(StatusCode::CONFLICT, "The state of the delivery does not allow it; the message says why.")
}

async fn cancel(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("deliveryId");
    let cancelled = context.app.cancel_delivery(&at.caller, id).await;
    Ok(response::json(StatusCode::OK, &show(&cancelled.map_err(about(DELIVERY))?)))
}

async fn retry(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("deliveryId");
    let retried = context.app.retry_delivery(&at.caller, id).await;
    Ok(response::json(StatusCode::OK, &show(&retried.map_err(about(DELIVERY))?)))
}

async fn redeliver(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let id = at.path.get("deliveryId");
    let made = context.app.redeliver_delivery(&at.caller, id).await;
    let made = made.map_err(about(DELIVERY))?;
    let shown = AttemptResponse::new(&made.attempt.attempt, made.credentials);
    Ok(response::json(StatusCode::OK, &shown))
}
