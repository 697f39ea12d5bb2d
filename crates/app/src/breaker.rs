//! Circuit breakers of webhooks, as users see them.

use stackbell_engine::core::LaneView;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Outcome, Verdict};
use stackbell_model::health::Health;
use stackbell_model::ids::WebhookId;

use crate::page::LIST_BYTES_MAX;
use crate::{App, Error};

/// A webhook's circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Deliveries are sent as they become due.
    Closed,
    /// The endpoint fails, so single attempts probe it.
    Open(OpenBreaker),
}

/// An open circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// The latest time of the next attempt, if a delivery is due then; `None` if it is unknown.
    pub until: Option<Timestamp>,
    /// Whether the requests cannot be made, whatever the state of the endpoint.
    pub is_our_fault: bool,
    /// Failed attempts since the last success, without pings and redeliveries.
    pub failures: u32,
    /// The time of the first of these failures.
    pub failing_since: Option<Timestamp>,
    /// The reason of the last failed attempt, for users. Lists leave it out.
    pub because: Option<Box<str>>,
}

/// The number of newest attempts among which the last failed one is searched.
const ATTEMPTS_SEARCHED_MAX: u32 = 5;

impl App {
    /// The circuit breakers of webhooks, without the reason why each is open: it would take a query for each webhook. Empty if
    /// the engine does not respond.
    pub(crate) async fn breakers(&self, webhooks: Vec<(WebhookId, Health)>) -> Vec<Breaker> {
        let lanes = self.engine.lane_views(webhooks.clone()).await.unwrap_or_default();
        webhooks.iter().zip(lanes).map(|((_, health), lane)| breaker(health, &lane)).collect()
    }

    /// The circuit breaker of a webhook, with the reason why it is open. `None` if the engine does not respond.
    pub(crate) async fn breaker(&self, webhook: WebhookId, health: Health) -> Result<Option<Breaker>, Error> {
        let mut breaker = self.breakers(vec![(webhook, health)]).await.pop();
        if let Some(Breaker::Open(open)) = &mut breaker {
            open.because = self.last_failure(webhook).await?;
        }
        Ok(breaker)
    }

    /// The reason of a webhook's last failed attempt.
    pub(crate) async fn last_failure(&self, webhook: WebhookId) -> Result<Option<Box<str>>, Error> {
        let attempts = self.store.list_attempts(webhook, ATTEMPTS_SEARCHED_MAX, LIST_BYTES_MAX).await?;
        let mut outcomes = attempts.iter().map(|stored| &stored.attempt.outcome);
        let failed = outcomes.find(|outcome| outcome.verdict() != Verdict::Success);
        Ok(failed.map(|outcome| match outcome {
            Outcome::Answered(response) | Outcome::HiddenError(response) => status_reason(response.status),
            Outcome::Unanswered { text, .. }
            | Outcome::OurFault { text }
            | Outcome::Undeliverable { text } => text.clone(),
        }))
    }
}

fn breaker(health: &Health, lane: &LaneView) -> Breaker {
    let Some(open) = lane.breaker else { return Breaker::Closed };
    Breaker::Open(OpenBreaker {
        until: open.until,
        is_our_fault: open.is_our_fault,
        failures: health.failures,
        failing_since: health.failing_since,
        because: None,
    })
}

/// The reason of an attempt that got a response with this status.
pub(crate) fn status_reason(status: u16) -> Box<str> {
    format!("the endpoint answered {status}").into()
}
