//! Why deliveries are not sent now, for people: a webhook's circuit breaker, and the wait of one pending delivery.

use stackbell_engine::core::LaneView;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Outcome, State, Verdict};
use stackbell_model::health::SuspensionReason;
use stackbell_model::ids::WebhookId;
use stackbell_model::wait::WaitReason;
use stackbell_model::webhook::Webhook;

use crate::auth::Access;
use crate::deliveries::LIST_BYTES_MAX;
use crate::deliveries::organization::{DeliveryOverview, LastAttempt};
use crate::webhooks::WebhookView;
use crate::{App, Error};

/// A webhook's circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Deliveries go out as they come.
    Closed,
    /// The endpoint fails: it gets a single attempt now and then.
    Open(OpenBreaker),
}

/// A circuit breaker that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// When the next single attempt is made at the latest, if something is due then; `None` if that is not known.
    pub until: Option<Timestamp>,
    /// Whether the requests cannot be made, however the endpoint does.
    pub is_our_fault: bool,
    /// Failed attempts since the last success, those that people asked for aside.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// Why the last failed attempt failed, for people. Lists leave it out.
    pub because: Option<Box<str>>,
}

/// Why a pending delivery is not sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Why.
    pub reason: WaitReason,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
    /// The answer or the person behind the wait, for people.
    pub because: Option<Box<str>>,
}

/// Failed attempts are looked for among so many of the newest.
const LOOKED_AT_MAX: u32 = 5;

impl App {
    /// Adds the circuit breakers, without the reason why each is open: that would take a query for each webhook.
    /// They stay unknown where the engine does not answer.
    pub(crate) async fn with_breakers(&self, mut views: Vec<WebhookView>) -> Vec<WebhookView> {
        let asked = views.iter().map(|view| (view.webhook.id, view.webhook.health)).collect();
        let lanes = self.engine.lane_views(asked).await.unwrap_or_default();
        for (view, lane) in views.iter_mut().zip(lanes) {
            view.breaker = Some(breaker(&view.webhook, &lane));
        }
        views
    }

    /// Adds the circuit breaker of one webhook, with the reason why it is open.
    pub(crate) async fn with_breaker(&self, view: WebhookView) -> Result<WebhookView, Error> {
        let mut view = self.with_breakers(vec![view]).await.pop().expect("as many as before");
        if let Some(Breaker::Open(open)) = &mut view.breaker {
            open.because = self.last_failure(view.webhook.id).await?;
        }
        Ok(view)
    }

    /// Why a webhook's last failed attempt failed.
    async fn last_failure(&self, webhook: WebhookId) -> Result<Option<Box<str>>, Error> {
        let attempts = self.store.list_attempts(webhook, LOOKED_AT_MAX, LIST_BYTES_MAX).await?;
        let mut outcomes = attempts.iter().map(|stored| &stored.attempt.outcome);
        let failed = outcomes.find(|outcome| outcome.verdict() != Verdict::Success);
        Ok(failed.map(|outcome| match outcome {
            Outcome::Answered(answer) | Outcome::HiddenError(answer) => answered(answer.status),
            Outcome::Unanswered { text, .. }
            | Outcome::OurFault { text }
            | Outcome::Undeliverable { text } => text.clone(),
        }))
    }

    /// Why a delivery waits. `None` if it is not pending, if this node is attempting it, or if it is sent as soon as there is
    /// room for it.
    pub(crate) async fn waiting(
        &self,
        access: &Access<'_>,
        overview: &DeliveryOverview,
    ) -> Result<Option<Waiting>, Error> {
        let State::Pending { due_at } = overview.state else { return Ok(None) };
        if self.engine.is_under_way(overview.id).await {
            return Ok(None);
        }
        let Some(webhook) = self.store.webhook(access.organization.id, overview.webhook).await? else {
            return Ok(None);
        };
        let waiting = |reason, until, because| Some(Waiting { reason, until, because });
        if !webhook.active {
            let because = webhook.pause_reason.as_ref().map(|reason| reason.as_str().into());
            return Ok(waiting(WaitReason::Inactive, None, because));
        }
        if let Some(suspension) = webhook.health.suspension {
            let because = match suspension.reason {
                SuspensionReason::Gone => answered(410),
                SuspensionReason::Failing => "the endpoint has failed for days".into(),
            };
            return Ok(waiting(WaitReason::Suspended, Some(suspension.probe_at), Some(because)));
        }
        let lanes = self.engine.lane_views(vec![(webhook.id, webhook.health)]).await;
        let lane = lanes.and_then(|lanes| lanes.into_iter().next()).unwrap_or_default();
        if lane.is_sending_held {
            return Ok(waiting(WaitReason::SendingHeld, None, None));
        }
        let breaker_until = lane.breaker.and_then(|open| open.until);
        if due_at > self.now() {
            let until = breaker_until.map_or(due_at, |until| until.max(due_at));
            return Ok(waiting(WaitReason::Backoff, Some(until), overview.last_attempt.as_ref().map(said)));
        }
        let Some(wait) = lane.wait else { return Ok(None) };
        let because = match wait.reason {
            WaitReason::Breaker | WaitReason::Backoff => self.last_failure(webhook.id).await?,
            _ => None,
        };
        Ok(waiting(wait.reason, wait.until, because))
    }
}

fn breaker(webhook: &Webhook, lane: &LaneView) -> Breaker {
    let Some(open) = lane.breaker else { return Breaker::Closed };
    Breaker::Open(OpenBreaker {
        until: open.until,
        is_our_fault: open.is_our_fault,
        failures: webhook.health.failures,
        failing_since: webhook.health.failing_since,
        because: None,
    })
}

fn answered(status: u16) -> Box<str> {
    format!("the endpoint answered {status}").into()
}

fn said(attempt: &LastAttempt) -> Box<str> {
    attempt.reason.clone().unwrap_or_else(|| answered(attempt.status))
}
