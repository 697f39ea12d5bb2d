//! Conversion of deliveries to types of the wire.

use stackbell_app::deliveries::organization::{DeliveryOverview, LastAttempt};
use stackbell_app::waiting::Waiting;
use stackbell_model::delivery::State;
use stackbell_model::scope::{ScopeNames, Subject};
use stackbell_wire::rest::delivery::{
    DeliveryLastAttempt, DeliveryResponse, DeliveryWaiting, DeliveryWebhook,
};
use stackbell_wire::rest::rfc3339;

/// Converts a delivery.
pub(super) fn show(overview: &DeliveryOverview) -> DeliveryResponse {
    let ScopeNames { project, stack, environment } =
        overview.subject.as_ref().map(Subject::names).unwrap_or_default();
    let mut shown = DeliveryResponse {
        id: overview.id.to_string(),
        event_id: overview.event_id.to_string(),
        kind: overview.trigger.kind().to_owned(),
        webhook: show_webhook(overview),
        format: overview.format.as_str().to_owned(),
        project_name: project.map(str::to_owned),
        stack_name: stack.map(str::to_owned),
        environment_name: environment.map(str::to_owned),
        created_at: rfc3339(overview.created_at),
        rearmed_at: overview.rearmed_at.map(rfc3339),
        state: overview.state.as_str().to_owned(),
        due_at: None,
        finished_at: None,
        fail_reason: None,
        cancel_reason: None,
        cancelled_by: None,
        attempts: overview.attempts,
        attempts_spent: overview.attempts_spent,
        last_attempt: overview.last_attempt.as_ref().map(show_last),
    };
    match &overview.state {
        State::Pending { due_at } => shown.due_at = Some(rfc3339(*due_at)),
        State::Succeeded { at } => shown.finished_at = Some(rfc3339(*at)),
        State::Failed { at, reason } => {
            shown.finished_at = Some(rfc3339(*at));
            shown.fail_reason = Some(reason.as_str().to_owned());
        }
        State::Cancelled { at, reason, by } => {
            shown.finished_at = Some(rfc3339(*at));
            shown.cancel_reason = Some(reason.as_str().to_owned());
            shown.cancelled_by = Some(by.to_string());
        }
    }
    shown
}

/// Converts the reason why a delivery is not sent now.
pub(super) fn show_waiting(waiting: &Waiting) -> DeliveryWaiting {
    DeliveryWaiting {
        reason: waiting.reason.as_str(),
        until: waiting.until.map(rfc3339),
        because: waiting.because.as_deref().map(str::to_owned),
    }
}

fn show_webhook(overview: &DeliveryOverview) -> DeliveryWebhook {
    let ScopeNames { project, stack, environment } = overview.webhook_scope.names();
    DeliveryWebhook {
        id: overview.webhook.to_string(),
        name: overview.webhook_name.to_string(),
        scope: overview.webhook_scope.kind().as_str().to_owned(),
        project_name: project.map(str::to_owned),
        stack_name: stack.map(str::to_owned),
        env_name: environment.map(str::to_owned),
        deleted: overview.is_webhook_deleted,
    }
}

fn show_last(last: &LastAttempt) -> DeliveryLastAttempt {
    DeliveryLastAttempt {
        started_at: rfc3339(last.started_at),
        duration_ms: u64::try_from(last.duration.as_millis()).unwrap_or(u64::MAX),
        response_code: last.status,
        error: last.reason.as_deref().map(str::to_owned),
    }
}
