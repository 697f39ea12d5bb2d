//! Why deliveries wait: for the figures that operators watch, and for people who ask about one webhook.
//!
//! The store knows what is due later and which webhooks are held; a lane knows its breaker, its pace and its attempts in flight.
//! A due delivery that none of them holds back could be sent now, and one that stays so for minutes is trouble of ours.

use stackbell_model::Timestamp;
use stackbell_model::wait::WaitReason;
use stackbell_store::maintenance::LaneDepth;

use super::breaker::OpenBreaker;

/// How many pending deliveries wait, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Those that nothing holds back. Those whose attempts are under way are among them.
    pub due: u64,
    /// Since when the first of these has been due.
    pub oldest_due: Option<Timestamp>,
    /// The others, by reason: in the order of [`WaitReason::ALL`].
    pub waiting: [u64; WaitReason::ALL.len()],
}

/// How the way out of a webhook is, as this node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneView {
    /// Whether its circuit breaker is open.
    pub breaker: Option<OpenBreaker>,
    /// Why what is due waits for the endpoint or for time; `None` if it could be sent now.
    pub wait: Option<LaneWait>,
    /// Whether all sending is held.
    pub is_sending_held: bool,
}

/// Why a lane waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneWait {
    /// Why.
    pub reason: WaitReason,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

impl Waits {
    /// Adds what is pending for one webhook. `reason` is why what is due of it is not sent now.
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

/// Whether somebody has to end it before anything is sent, due or not.
const fn is_hold(reason: WaitReason) -> bool {
    match reason {
        WaitReason::Suspended | WaitReason::Inactive | WaitReason::SendingHeld => true,
        WaitReason::Backoff | WaitReason::Breaker | WaitReason::Pace | WaitReason::Busy => false,
    }
}

/// Whether the webhook is held, by its row in the store. The row is newer than the lane's knowledge.
pub fn hold_of(lane: &LaneDepth) -> Option<WaitReason> {
    match (lane.active, lane.suspended) {
        (false, _) => Some(WaitReason::Inactive),
        (true, true) => Some(WaitReason::Suspended),
        (true, false) => None,
    }
}
