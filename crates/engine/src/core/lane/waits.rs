//! The reasons for which a lane does not send its due deliveries.

use stackbell_model::Timestamp;
use stackbell_model::health::Health;
use stackbell_model::wait::WaitReason;

use super::Lane;
use crate::core::breaker::{Breaker, Cause, OpenBreaker};
use crate::core::config::CoreConfig;
use crate::core::messages::SendNow;
use crate::core::waits::LaneWait;

impl Lane {
    /// Restores `wants_attempt`, because the lease request for that attempt has failed.
    pub(in crate::core) fn wants_again(&mut self) {
        self.wants_attempt |= std::mem::take(&mut self.leases_wanted);
    }

    pub(in crate::core) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// Notes that a user wants an attempt now. It does not wait for the breaker or for the time that the endpoint requested.
    pub(in crate::core) fn nudge(&mut self, which: SendNow, now: Timestamp) {
        self.wants_attempt = true;
        if which == SendNow::Everything {
            self.flush(now);
        }
        if let Breaker::Open { until, .. } = &mut self.breaker {
            *until = (*until).min(now);
        }
        self.try_at = self.try_at.min(now);
    }

    /// Its circuit breaker; `None` if closed.
    pub(in crate::core) fn open_breaker(&self, health: &Health, config: &CoreConfig) -> Option<OpenBreaker> {
        self.breaker.view(health, self.unrecorded == 0, self.share, config)
    }

    /// The reason why its due deliveries wait for the endpoint or for a time; `None` if they could be sent now.
    ///
    /// A breaker that is open because this node cannot make requests does not count: the endpoint would take the deliveries.
    pub(in crate::core) fn endpoint_wait(&mut self, now: Timestamp) -> Option<LaneWait> {
        let waits = |reason, until| Some(LaneWait { reason, until });
        if let Some(until) = self.asked_until(now) {
            return waits(WaitReason::Backoff, Some(until));
        }
        if let Breaker::Open { until, because: Cause::Failures } = self.breaker {
            return waits(WaitReason::Breaker, Some(until));
        }
        if self.is_using_pace(now) {
            return waits(WaitReason::Pace, self.pacer.map(|pacer| pacer.ready_at()));
        }
        if let Some(pacing) = self.catching_up
            && (pacing.not_before > now || self.in_flight > 0)
        {
            return waits(WaitReason::Pace, Some(pacing.not_before));
        }
        // If this node's share is zero, other nodes send for the webhook.
        if self.in_flight >= self.in_flight_max() { waits(WaitReason::Busy, None) } else { None }
    }

    /// True if recent attempts have used some of the pacer's burst. A lane with a full burst does not wait for its pace.
    fn is_using_pace(&mut self, now: Timestamp) -> bool {
        let Some(pacer) = &mut self.pacer else { return false };
        pacer.tell(now);
        pacer.is_in_use()
    }
}
