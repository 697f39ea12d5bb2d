//! Gets a delivery with its payload and its attempts.

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
use stackbell_model::permission::Permission;
use stackbell_wire::rest::delivery::{AttemptResponse, DeliveryDetail};

use super::show::{show, show_waiting};
use super::{DELIVERY, NOT_FOUND, PATH_OF_ONE, TAGS};
use crate::Route;

pub(super) fn route() -> Route {
    let summary = "Get a delivery with its payload, its attempts, and the reason why it waits.";
    let description = Description::new("GetDelivery", TAGS, summary)
        .guarded()
        .response(StatusCode::OK, "Success.", [(JSON, one::<DeliveryDetail>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, NOT_FOUND);
    Route::new(Method::GET, PATH_OF_ONE, Need::In(Permission::Read), get).described(description)
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    let large = context.large_responses.begin().await?;
    let id = at.path.get("deliveryId");
    let view = context.app.get_delivery(&at.caller, id).await.map_err(about(DELIVERY))?;
    let bytes = view.size();
    large
        .json(bytes, move || {
            Ok(DeliveryDetail {
                delivery: show(&view.overview),
                waiting: view.waiting.as_ref().map(show_waiting),
                payload: String::from_utf8_lossy(&view.payload).into_owned(),
                history: view
                    .history
                    .iter()
                    .map(|attempt| AttemptResponse::new(attempt, view.credentials))
                    .collect(),
            })
        })
        .await
}
