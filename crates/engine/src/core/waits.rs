//! The reasons why deliveries wait, for metrics and for users who look at one webhook.
//!
//! The store knows due times and held webhooks. A lane knows its circuit breaker, its rate and its attempts in flight.
//! A due delivery without any such reason could be sent now. If it stays due for minutes, this instance has a problem.

use stackbell_model::Timestamp;
use stackbell_model::wait::WaitReason;
use stackbell_store::maintenance::LaneDepth;

use super::breaker::OpenBreaker;

/// The numbers of waiting deliveries, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Due deliveries without a reason to wait, including those with an attempt in flight.
    pub due: u64,
    /// The earliest due time of these deliveries.
    pub oldest_due: Option<Timestamp>,
    /// The other deliveries by reason, in the order of [`WaitReason::ALL`].
    pub waiting: [u64; WaitReason::ALL.len()],
}

/// The state of a webhook's sending, as this node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneView {
    /// Its circuit breaker; `None` if closed.
    pub breaker: Option<OpenBreaker>,
    /// Why due deliveries wait for the endpoint or for a time; `None` if they could be sent now.
    pub wait: Option<LaneWait>,
    /// True if all sending is on hold.
    pub is_sending_held: bool,
}

/// Why a lane waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneWait {
    /// The reason.
    pub reason: WaitReason,
    /// When the wait ends; `None` if unknown.
    pub until: Option<Timestamp>,
}

impl Waits {
    /// Adds the pending deliveries of one webhook. `reason` is why its due deliveries are not sent now.
    pub fn add(&mut self, lane: &LaneDepth, reason: Option<WaitReason>) {
        let held = reason.filter(|reason| is_hold(*reason));
        self.waiting[held.unwrap_or(WaitReason::Backoff) as usize] += lane.later;
        match reason {
            Some(reason) => self.waiting[reason as usize] += lane.due,
            None if lane.due > 0 => {
                self.due += lane.due;
                self.oldest_due = self.oldest_due.into_iter().chain([lane.first_due]).min();
            }
            None => {}
        }
    }

    /// Adds the sums of other webhooks.
    pub fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.oldest_due = self.oldest_due.into_iter().chain(other.oldest_due).min();
        self.waiting.iter_mut().zip(other.waiting).for_each(|(sum, more)| *sum += more);
    }
}

/// True if the reason stops all deliveries of the webhook, due or not, until the hold ends.
const fn is_hold(reason: WaitReason) -> bool {
    match reason {
        WaitReason::Suspended | WaitReason::Inactive | WaitReason::SendingHeld => true,
        WaitReason::Backoff | WaitReason::Breaker | WaitReason::Pace | WaitReason::Busy => false,
    }
}

/// The hold of a webhook by its row in the store, which is newer than the lane's copy.
pub fn hold_of(lane: &LaneDepth) -> Option<WaitReason> {
    match (lane.active, lane.suspended) {
        (false, _) => Some(WaitReason::Inactive),
        (true, true) => Some(WaitReason::Suspended),
        (true, false) => None,
    }
}
