//! Between the wire's types and the control plane's.

use stackbell_app::deliveries::AttemptView;
use stackbell_app::webhooks::{WebhookFields, WebhookView};
use stackbell_http_kit::error::HttpError;
use stackbell_wire::rest::delivery::WebhookDelivery;
use stackbell_wire::rest::webhook::{WebhookRequest, WebhookResponse};

use super::WEBHOOK;

/// Reads the body that creates or changes a webhook.
pub(super) fn read_fields(text: &str) -> Result<WebhookFields, HttpError> {
    let request = WebhookRequest::read(text).map_err(|error| HttpError::body(WEBHOOK, &error))?;
    Ok(WebhookFields {
        organization_name: request.organization_name,
        project_name: request.project_name,
        stack_name: request.stack_name,
        env_name: request.env_name,
        name: request.name,
        display_name: request.display_name,
        payload_url: request.payload_url,
        active: request.active,
        format: request.format,
        filters: request.filters,
        groups: request.groups,
        secret: request.secret,
    })
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
