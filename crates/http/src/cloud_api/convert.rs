//! Conversion between types of the wire and of the control plane.

use stackbell_app::deliveries::AttemptView;
use stackbell_app::webhooks::WebhookView;
use stackbell_http_kit::error::HttpError;
use stackbell_wire::rest::webhook::{WebhookRequest, WebhookResponse};
use stackbell_wire::rest::webhook_delivery::WebhookDelivery;

use super::WEBHOOK;

/// Reads the body that creates or changes a webhook.
pub(super) fn read_request(text: &str) -> Result<WebhookRequest, HttpError> {
    WebhookRequest::read(text).map_err(|error| HttpError::body(WEBHOOK, &error))
}

/// Shows a webhook.
pub(super) fn webhook(view: &WebhookView) -> WebhookResponse {
    WebhookResponse::new(&view.webhook, &view.organization, view.credentials)
}

/// Shows an attempt.
pub(super) fn delivery(view: &AttemptView) -> WebhookDelivery {
    let stored = &view.attempt;
    WebhookDelivery::new(
        &stored.delivery.delivery,
        &stored.attempt,
        &stored.delivery.payload,
        view.credentials,
    )
}
