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
    /// The lease request for an attempt that a person wants has failed.
    pub(in crate::core) fn wants_again(&mut self) {
        self.wants_attempt |= std::mem::take(&mut self.leases_wanted);
    }

    pub(in crate::core) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// A person wants an attempt: it waits neither for the breaker nor for the time that the endpoint asked for.
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

    /// Its breaker, if that is open.
    pub(in crate::core) fn open_breaker(&self, health: &Health, config: &CoreConfig) -> Option<OpenBreaker> {
        self.breaker.view(health, self.unrecorded == 0, self.share, config)
    }

    /// Why its due deliveries wait for the endpoint or for time; `None` if they could be sent now.
    ///
    /// A breaker that is open through our own fault is no such reason: the endpoint would take the deliveries.
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
        // A share that came to nothing leaves the webhook to another node.
        if self.in_flight >= self.in_flight_max() { waits(WaitReason::Busy, None) } else { None }
    }

    /// Whether it has sent as much lately as its pace allows. A lane that does not use its pace waits for something else.
    fn is_using_pace(&mut self, now: Timestamp) -> bool {
        let Some(pacer) = &mut self.pacer else { return false };
        pacer.tell(now);
        pacer.is_in_use()
    }
}
