//! The reason for an attempt.

use stackbell_model::delivery::{AttemptTrigger, Delivery, State};
use stackbell_model::ids::LeaseToken;

use super::messages::OnDemandTicket;

/// On whose behalf an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requester {
    /// The queue, under a lease.
    Queue { token: LeaseToken, trigger: AttemptTrigger },
    /// A person who asked for one more attempt of the delivery.
    Redelivery { ticket: OnDemandTicket },
    /// A person who asked for a ping.
    Ping { ticket: OnDemandTicket },
}

impl Requester {
    pub(super) fn queue(delivery: &Delivery, token: LeaseToken) -> Self {
        debug_assert!(matches!(delivery.state, State::Pending { .. }));
        Self::Queue { token, trigger: AttemptTrigger::Schedule }
    }

    pub(super) const fn trigger(self) -> AttemptTrigger {
        match self {
            Self::Queue { trigger, .. } => trigger,
            Self::Redelivery { .. } => AttemptTrigger::Redeliver,
            Self::Ping { .. } => AttemptTrigger::Ping,
        }
    }
}
