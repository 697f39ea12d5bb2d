//! Reasons why a pending delivery is not sent now, for users.

use stackbell_model::Timestamp;
use stackbell_model::delivery::State;
use stackbell_model::health::SuspensionReason;
use stackbell_model::wait::WaitReason;
use stackbell_store::history::{DeliveryOverview, LastAttempt};

use crate::auth::Access;
use crate::breaker::status_reason;
use crate::{App, Error};

/// The reason why a pending delivery is not sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason.
    pub reason: WaitReason,
    /// The end of the wait, if it is known.
    pub until: Option<Timestamp>,
    /// The failed attempt or the user's reason behind the wait, for users.
    pub because: Option<Box<str>>,
}

impl App {
    /// The reason why a delivery waits. `None` if it is not pending, if this node is attempting it, or if it is sent as soon as
    /// a permit is free.
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
                SuspensionReason::Gone => status_reason(410),
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
            let because = overview.last_attempt.as_ref().map(failure_reason);
            return Ok(waiting(WaitReason::Backoff, Some(until), because));
        }
        let Some(wait) = lane.wait else { return Ok(None) };
        let because = match wait.reason {
            WaitReason::Breaker | WaitReason::Backoff => self.last_failure(webhook.id).await?,
            _ => None,
        };
        Ok(waiting(wait.reason, wait.until, because))
    }
}

fn failure_reason(attempt: &LastAttempt) -> Box<str> {
    attempt.reason.clone().unwrap_or_else(|| status_reason(attempt.status))
}
