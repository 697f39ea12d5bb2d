//! Why deliveries wait: for the figures that operators watch, and for people who ask about one webhook.
//!
//! The store knows what is due later and which webhooks are held; a lane knows its breaker, its pace and its attempts in flight.
//! A due delivery that none of them holds back could be sent now, and one that stays so for minutes is trouble of ours.

use stackbell_model::Timestamp;
use stackbell_model::health::Health;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::wait::WaitReason;
use stackbell_store::maintenance::LaneDepth;

use super::Core;
use super::breaker::{Breaker, Cause};
use super::lane::Lane;
use super::messages::SendNow;

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

/// How many breakers are open, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenBreakers {
    /// Because endpoints fail.
    pub failures: u64,
    /// Because this node cannot make their requests.
    pub our_fault: u64,
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

/// A circuit breaker that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// When this node makes its next single attempt, if something is due then. Another node may make one before.
    /// `None` where this node has made none yet, and other nodes have found that the endpoint fails.
    pub until: Option<Timestamp>,
    /// Whether it is open because this node cannot make the requests, however the endpoint does.
    pub is_our_fault: bool,
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

impl Core {
    /// Sorts what is pending for these webhooks by why it waits. Costs a lookup for each.
    pub fn waits(&mut self, depths: &[LaneDepth], now: Timestamp) -> Waits {
        let is_held = self.sending.is_held();
        let mut waits = Waits::default();
        for depth in depths {
            let held = hold_of(depth).or_else(|| is_held.then_some(WaitReason::SendingHeld));
            let lane = self.lanes.get_mut(&depth.webhook);
            let reason = held.or_else(|| lane?.endpoint_wait(now).map(|wait| wait.reason));
            waits.add(depth, reason);
        }
        waits
    }

    /// A person wants pending deliveries of a webhook sent now.
    pub(super) fn send_now(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        which: SendNow,
        now: Timestamp,
    ) {
        self.give_back_of(webhook);
        self.note_due(organization, webhook, now, now);
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.nudge(which, now);
            self.reschedule(webhook, now);
        }
    }

    /// How the way out of a webhook is. `health` is what the store says of it now.
    pub fn lane_view(&mut self, webhook: WebhookId, health: &Health, now: Timestamp) -> LaneView {
        let config = &self.config;
        let share = self.neighbours.share_of(webhook);
        let lane = self.lanes.get_mut(&webhook);
        let unknown = Breaker::CLOSED.view(health, true, share, config);
        let breaker = lane.as_ref().map_or(unknown, |lane| lane.open_breaker(health, config));
        let wait = lane.and_then(|lane| lane.endpoint_wait(now));
        // Another node has seen more.
        let wait = match (breaker, wait) {
            (Some(OpenBreaker { until, is_our_fault: false }), None) => {
                Some(LaneWait { reason: WaitReason::Breaker, until })
            }
            (None, Some(LaneWait { reason: WaitReason::Breaker, .. })) => None,
            (_, wait) => wait,
        };
        LaneView { breaker, wait, is_sending_held: self.sending.is_held() }
    }

    /// Counts the open breakers of this node. Looks at all lanes.
    pub fn open_breakers(&self) -> OpenBreakers {
        let mut open = OpenBreakers::default();
        for breaker in self.lanes.values().map(Lane::breaker) {
            match breaker {
                Breaker::Open { because: Cause::Failures, .. } => open.failures += 1,
                Breaker::Open { because: Cause::OurFault, .. } => open.our_fault += 1,
                Breaker::Closed { .. } => {}
            }
        }
        open
    }
}
