//! A lane: the state of one webhook's sending, and when the lane may send how much.

mod catching_up;
mod hold;
mod prefetch;
mod speed;
mod waits;

use std::collections::VecDeque;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome, Silence, Verdict};
use stackbell_model::health::{PROBE_INTERVAL, RetryAfter};
use stackbell_model::ids::OrganizationId;
use stackbell_model::webhook::{PayloadUrl, Webhook};
use stackbell_store::queue::LaneMode;

use super::breaker::Breaker;
use super::config::CoreConfig;
use super::pacer::{Pacer, Rate};
use super::permits::Tier;
use super::rendezvous::Share;
use catching_up::CatchingUp;
use hold::Hold;
pub(super) use prefetch::{PREFETCH_BYTES_MAX, Prefetched};

/// The wait before the next lease request, after the store leased none of the lane's due deliveries.
const TAKEN_WAIT: Duration = Duration::from_millis(100);

/// When a lane can lease deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Now, for up to `attempts` attempts, and `prefetch` deliveries to prefetch.
    Now { attempts: u32, prefetch: u32, mode: LaneMode },
    /// At this time at the earliest.
    At(Timestamp),
    /// Only after another input: a response, an edit, or a new delivery.
    No,
}

#[derive(Debug)]
pub(super) struct Lane {
    organization: OrganizationId,
    /// The due time of its first unleased delivery, as far as this node knows; may be too early, never too late.
    next_due: Option<Timestamp>,
    /// True if a lease request for the lane is under way.
    is_leasing: bool,
    /// Prefetched deliveries, oldest lease first.
    prefetched: VecDeque<Prefetched>,
    /// The number of changes of its webhook or deliveries. A delivery requested before the last change is not prefetched.
    changes: u64,
    /// Prefetch places that are reserved for deliveries of a commit or a lease request under way.
    promised: u32,
    /// The most deliveries that it may prefetch.
    prefetch_limit: u32,
    /// The response time of its endpoint, averaged over the last few attempts.
    response_time: Duration,
    /// Whether the last leased deliveries were too large to be prefetched.
    has_large: bool,
    /// True if a prefetched delivery became too old to be sent, and no response has come since.
    has_stalled: bool,
    /// This node's share of the webhook's sending.
    share: Share,
    in_flight: u32,
    /// The maximum number of attempts of its webhook in flight, of all nodes together.
    limit: u32,
    /// The start value of `limit`.
    limit_start: u32,
    /// If this node's share is zero: the earliest time of its next single attempt.
    try_at: Timestamp,
    tier: Tier,
    breaker: Breaker,
    /// Ended attempts that are not recorded yet, as far as this node knows. The store may not count them yet.
    unrecorded: u32,
    hold: Hold,
    /// When `hold` was learnt.
    hold_learnt_at: Timestamp,
    /// True if its webhook was held when it was last seen.
    was_held: bool,
    /// What is known of edits of the webhook.
    edits: hold::Edits,
    /// When the last hold of its webhook ended, as far as this node knows.
    hold_ended_at: Option<Timestamp>,
    /// Its payload URL and the fingerprint of its secret; `None` until they are known.
    endpoint: Option<(PayloadUrl, Option<[u8; 32]>)>,
    /// The wait that its endpoint requested (`Retry-After`).
    asked: Option<RetryAfter>,
    /// Waits that the endpoint requested up to this time are over, because of a success, a resume, or another endpoint.
    asked_is_over_to: Option<Timestamp>,
    /// True while the lane sends all pending deliveries, due or not. A failed attempt ends this.
    flushes: bool,
    /// True if `flushes` begins once the store has recorded a success that a user requested.
    flushes_once_recorded: bool,
    /// True if a user wants an attempt now. The next attempt ignores the wait that the endpoint requested.
    wants_attempt: bool,
    /// True if the lease request under way is for the attempt that a user wants.
    leases_wanted: bool,
    /// True if its deliveries are sent one at a time, in the order of their events, by the first node alone.
    is_ordered: bool,
    /// The rate limit of the endpoint's service, or the one that users set.
    rate: Option<Rate>,
    /// Limits the lane to this node's share of `rate`.
    pacer: Option<Pacer>,
    /// The revision of the webhook that `rate` was read from.
    revision: u64,
    /// True if the rate has changed since the last lease request began.
    has_new_rate: bool,
    /// True if its webhook has been read since its last change. Until then it leases one delivery, to read the webhook.
    is_known: bool,
    /// The earliest time of the next probe: the last one is not recorded yet, or found no unleased delivery.
    no_probe_before: Option<Timestamp>,
    /// The ramp-up after a resume: single attempts at shorter and shorter intervals.
    catching_up: Option<CatchingUp>,
    /// True if the webhook changed while a lease request was under way. The response may be older and is not learnt from.
    is_outdated: bool,
}

impl Lane {
    pub(super) fn new(organization: OrganizationId, share: Share, config: &CoreConfig) -> Self {
        Self {
            organization,
            next_due: None,
            prefetched: VecDeque::new(),
            changes: 0,
            promised: 0,
            prefetch_limit: config.lane_prefetch_max,
            response_time: Duration::ZERO,
            has_large: false,
            has_stalled: false,
            is_leasing: false,
            share,
            in_flight: 0,
            limit: config.lane_limit_start,
            limit_start: config.lane_limit_start,
            try_at: Timestamp::from_millis(0),
            tier: Tier::Unproven,
            breaker: Breaker::CLOSED,
            unrecorded: 0,
            hold: Hold::None,
            hold_learnt_at: Timestamp::from_millis(0),
            was_held: false,
            edits: hold::Edits::default(),
            hold_ended_at: None,
            endpoint: None,
            asked: None,
            asked_is_over_to: None,
            flushes: false,
            flushes_once_recorded: false,
            wants_attempt: false,
            leases_wanted: false,
            is_ordered: false,
            rate: None,
            pacer: None,
            revision: 0,
            has_new_rate: false,
            is_known: false,
            no_probe_before: None,
            catching_up: None,
            is_outdated: false,
        }
    }

    /// A lane whose webhook is known.
    pub(super) fn of(webhook: &Webhook, share: Share, config: &CoreConfig, now: Timestamp) -> Self {
        let mut lane = Self::new(webhook.organization, share, config);
        lane.learn_webhook(webhook, config, now);
        lane.learn_rate(webhook, now);
        lane
    }

    /// Sets this node's share, after another node has joined or left.
    pub(super) fn set_share(&mut self, share: Share, config: &CoreConfig, now: Timestamp) {
        if self.share == share {
            return;
        }
        self.share = share;
        self.follow_rate(now);
        self.rest(config, now);
        self.breaker.shorten(share, config, now);
    }

    /// The maximum number of this node's attempts in flight.
    fn in_flight_max(&self) -> u32 {
        if self.is_ordered {
            u32::from(self.share.is_first())
        } else {
            self.share.in_flight_max(self.limit, self.limit_start)
        }
    }

    /// Delays the next single attempt by this node's turn, if its share is zero.
    fn rest(&mut self, config: &CoreConfig, now: Timestamp) {
        if self.in_flight_max() == 0 {
            self.try_at = now.after(self.share.turn(config.breaker_wait));
        }
    }

    pub(super) fn organization(&self) -> OrganizationId {
        self.organization
    }

    pub(super) fn tier(&self) -> Tier {
        self.tier
    }

    /// Notes that a delivery is due at `at`.
    pub(super) fn note_due(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }

    /// True if a new delivery may be leased at its commit and sent at once: no delivery is before it, and nothing delays the
    /// lane. Always false for a paced lane: other deliveries may use up the rate before the commit is done.
    pub(super) fn takes_new(&self, webhook: &Webhook, now: Timestamp) -> bool {
        self.is_free_for_new(webhook, now)
            && self.prefetched.is_empty()
            && self.in_flight < self.in_flight_max()
    }

    /// When the lane can lease deliveries, and for how many attempts.
    pub(super) fn readiness(&mut self, now: Timestamp) -> Readiness {
        let (attempts, prefetch, mode) = match self.readiness_unpaced(now) {
            Readiness::Now { attempts, prefetch, mode } => {
                (if self.is_known { attempts } else { attempts.min(1) }, prefetch, mode)
            }
            later @ (Readiness::At(_) | Readiness::No) => return later,
        };
        let Some(pacer) = &mut self.pacer else { return Readiness::Now { attempts, prefetch, mode } };
        pacer.tell(now);
        match pacer.available() {
            0 => Readiness::At(pacer.ready_at()),
            available => Readiness::Now { attempts: attempts.min(available), prefetch, mode },
        }
    }

    fn readiness_unpaced(&self, now: Timestamp) -> Readiness {
        let Some(due) = self.next_due else { return Readiness::No };
        if self.is_leasing {
            return Readiness::No;
        }
        let one = |mode| Readiness::Now { attempts: 1, prefetch: 0, mode };
        let (due, mode) = if self.flushes { (due.min(now), LaneMode::Pending) } else { (due, LaneMode::Due) };
        match (self.hold, self.asked_until(now)) {
            (Hold::Inactive | Hold::Deleted, _) => return Readiness::No,
            (Hold::None, Some(_)) if self.wants_attempt => return one(LaneMode::Asked),
            (_, Some(until)) => return Readiness::At(until),
            (Hold::Suspended { .. }, None) if self.in_flight > 0 => return Readiness::No,
            (Hold::Suspended { probe_at }, None) => {
                let at = self.no_probe_before.map_or(probe_at, |not_before| probe_at.max(not_before));
                return if at > now { Readiness::At(at) } else { one(LaneMode::Probe) };
            }
            (Hold::None, None) => {}
        }
        if let Some(not_before) = self.single_attempts() {
            let at = not_before.max(due);
            return match self.in_flight {
                0 if at > now => Readiness::At(at),
                0 => one(mode),
                _ => Readiness::No,
            };
        }
        // Prefetched deliveries are sent first, so deliveries leased now get no attempt.
        let free = self.in_flight_max().saturating_sub(self.in_flight);
        let attempts = if self.prefetched.is_empty() { free } else { 0 };
        let prefetch = self.wanted_prefetch();
        match self.catching_up {
            _ if attempts == 0 && prefetch == 0 => Readiness::No,
            _ if due > now => Readiness::At(due),
            Some(pacing) if !pacing.is_answered && self.in_flight > 0 => Readiness::No,
            Some(pacing) if pacing.not_before > now => Readiness::At(pacing.not_before),
            Some(_) => one(mode),
            None => Readiness::Now { attempts, prefetch, mode },
        }
    }

    /// When the next attempt may begin, if the lane makes only single attempts to test the endpoint.
    fn single_attempts(&self) -> Option<Timestamp> {
        match self.breaker {
            Breaker::Open { until, .. } => Some(until),
            Breaker::Closed { .. } if self.is_ordered => None,
            Breaker::Closed { .. } => (self.in_flight_max() == 0).then_some(self.try_at),
        }
    }

    /// True if the lane may make one more attempt of a delivery that is already leased.
    pub(super) fn may_attempt(&mut self, now: Timestamp) -> bool {
        if let Some(pacer) = &mut self.pacer {
            pacer.tell(now);
        }
        let has_room = match self.single_attempts() {
            Some(not_before) => not_before <= now && self.in_flight == 0,
            None => self.in_flight < self.in_flight_max(),
        };
        has_room
            && self.hold == Hold::None
            && self.asked_until(now).is_none()
            && self.pacer.is_none_or(|pacer| pacer.available() > 0)
            && self
                .catching_up
                .is_none_or(|pacing| pacing.not_before <= now && (pacing.is_answered || self.in_flight == 0))
    }

    pub(super) fn attempt_begins(&mut self) {
        self.in_flight += 1;
    }

    /// True if its deliveries are sent one at a time, in the order of their events.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// True if the next lease request, which brings the edited webhook, may be a long time away.
    pub(super) fn may_wait_long(&self) -> bool {
        self.pacer.is_some() || !self.breaker.is_closed() || self.asked.is_some()
    }

    /// Counts a request that is sent now.
    pub(super) fn sends(&mut self, now: Timestamp) {
        if let Some(pacer) = &mut self.pacer {
            pacer.take(1, now);
        }
    }

    /// Uncounts an attempt that was reserved and not made.
    pub(super) fn attempt_dropped(&mut self) {
        self.in_flight -= 1;
    }

    /// Learns from an attempt that ended at `now` and was made with `revision` of the webhook. Attempts from before an edit are
    /// ignored: see [`AttemptRecord::health_after`](stackbell_store::commit::AttemptRecord::health_after).
    /// `retry_until` is the end of the wait that the response requested.
    pub(super) fn attempt_ended(
        &mut self,
        attempt: &Attempt,
        revision: u64,
        retry_until: Option<Timestamp>,
        config: &CoreConfig,
        now: Timestamp,
    ) {
        self.in_flight -= 1;
        self.unrecorded += 1;
        if revision < self.revision {
            return self.rest(config, now);
        }
        self.note_asked(attempt, revision, retry_until);
        if attempt.trigger == AttemptTrigger::Probe {
            // The probe is not recorded yet. Without this, the store's `probe_at` would start a second probe at once.
            let wait = match attempt.outcome.verdict() {
                Verdict::None => config.retry.own_fault_wait,
                Verdict::Success | Verdict::Failure | Verdict::Gone => PROBE_INTERVAL,
            };
            self.no_probe_before = Some(now.after(wait));
        }
        match attempt.outcome.verdict() {
            Verdict::Success => {
                // A success that a user requested shows that the endpoint is back: pending deliveries need not wait.
                self.flushes_once_recorded |= !attempt.trigger.is_ours();
                self.breaker = Breaker::CLOSED;
                self.catching_up = self.catching_up.and_then(CatchingUp::faster);
                self.learn_speed(attempt, config);
            }
            Verdict::Failure | Verdict::Gone => {
                self.stop_flush();
                self.breaker.fail(self.share, config, now);
                if let Some(until) = retry_until.and_then(|_| self.asked_until(now)) {
                    self.breaker.wait_no_longer_than(until, self.share, config);
                }
                match attempt.outcome {
                    Outcome::Unanswered { silence: Silence::TimedOut, .. } => {
                        self.limit = 1;
                        self.tier = Tier::Unproven;
                    }
                    Outcome::Answered(_) | Outcome::HiddenError(_) => {
                        self.learn_speed(attempt, config);
                    }
                    // An endpoint without a response is unproven only after a second failure. A single failure may be a
                    // connection that the endpoint had closed, and would cost all prefetched deliveries.
                    Outcome::Unanswered { .. } if self.breaker.has_failed_again() => {
                        self.tier = Tier::Unproven;
                    }
                    Outcome::Unanswered { .. } | Outcome::OurFault { .. } | Outcome::Undeliverable { .. } => {
                    }
                }
            }
            // This node cannot make requests. Single attempts find out when it can again.
            Verdict::None if matches!(attempt.outcome, Outcome::OurFault { .. }) => {
                self.stop_flush();
                self.breaker.our_fault(config, now);
            }
            Verdict::None => {}
        }
        self.rest(config, now);
    }

    /// Notes that the outcome of an attempt is recorded, or never will be.
    pub(super) fn outcome_recorded(&mut self) {
        // The attempt may be of an earlier lane of this webhook, which was dropped.
        self.unrecorded = self.unrecorded.saturating_sub(1);
    }

    /// Learns the rate of its webhook. A webhook older than the last one seen is ignored.
    pub(super) fn learn_rate(&mut self, webhook: &Webhook, now: Timestamp) {
        if webhook.revision < self.revision {
            return;
        }
        self.revision = webhook.revision;
        self.rate = Rate::of(webhook);
        self.is_ordered = self.rate.is_some_and(|rate| rate.keeps_order(webhook.format));
        self.follow_rate(now);
    }

    /// Sets the pacer to this node's share of the rate. An ordered lane has the whole rate, because one node sends it.
    fn follow_rate(&mut self, now: Timestamp) {
        let share = if self.is_ordered { Share::WHOLE } else { self.share };
        let rate = self.rate.map(|rate| rate.part(share));
        if rate == self.pacer.map(Pacer::rate) {
            return;
        }
        self.has_new_rate = true;
        match (&mut self.pacer, rate) {
            (Some(pacer), Some(rate)) => pacer.set_rate(rate, now),
            (pacer, rate) => *pacer = rate.map(|rate| Pacer::new(rate, now)),
        }
    }

    /// Notes that a lease request begins, with `prefetch` deliveries to prefetch.
    pub(super) fn lease_begins(&mut self, prefetch: usize) {
        self.is_leasing = true;
        self.promise(prefetch);
        self.has_new_rate = false;
        self.leases_wanted = std::mem::take(&mut self.wants_attempt);
        // Reset now and not at the response, so that deliveries that become due until then are not lost.
        self.next_due = None;
    }

    /// Notes that the response to the lease request has come, or will not come.
    pub(super) fn lease_ends(&mut self, prefetch: usize) {
        self.is_leasing = false;
        self.keep_promise(prefetch);
    }

    /// The maximum number of leased attempts that may be made now. The number is below `u32::MAX` only if the rate has changed
    /// since the lease request began, or if the lane must wait.
    pub(super) fn room(&mut self, now: Timestamp) -> u32 {
        if self.must_wait(now) {
            return 0;
        }
        match &mut self.pacer {
            Some(pacer) if self.has_new_rate => {
                pacer.tell(now);
                pacer.available()
            }
            Some(_) | None => u32::MAX,
        }
    }

    /// Returns `is_outdated` and resets it.
    pub(super) fn take_outdated(&mut self) -> bool {
        std::mem::take(&mut self.is_outdated)
    }

    /// True if the lane is no longer needed and can be dropped.
    pub(super) fn is_spent(&self) -> bool {
        self.hold == Hold::Deleted && self.in_flight == 0 && self.prefetched.is_empty() && !self.is_leasing
    }

    /// Learns from a lease of `count` deliveries at `now`. The store reports that the next delivery can be leased at `next_due`,
    /// and that the wait requested by the endpoint ends at `wait_until`.
    pub(super) fn leased(
        &mut self,
        count: usize,
        mode: LaneMode,
        next_due: Option<Timestamp>,
        wait_until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let was_wanted = std::mem::take(&mut self.leases_wanted);
        // The store reported a wait that another node's response had requested. The user still wants the attempt.
        self.wants_attempt |=
            was_wanted && mode != LaneMode::Asked && count == 0 && self.asked_until(now).is_some();
        // Another node has leased the due deliveries, or the endpoint requested a wait. `wait_until` counts here even if the
        // lane considers that wait over, after a clock was set back.
        let not_before = now.after(TAKEN_WAIT).max(wait_until.unwrap_or(now));
        let next_due = next_due.map(|due| if count == 0 { due.max(not_before) } else { due });
        next_due.into_iter().for_each(|due| self.note_due(due));
        let due_later = self.next_due.filter(|due| *due > now);
        if mode == LaneMode::Probe && count == 0 {
            self.no_probe_before = self.no_probe_before.max(next_due);
        }
        if mode == LaneMode::Pending && count == 0 {
            self.flushes = false;
        }
        if let pacing @ Some(_) = self.catching_up {
            let is_rest_later = !self.flushes && (count == 0 || due_later.is_some());
            let caught_up = self.next_due.is_none() || is_rest_later;
            let pacing = pacing.filter(|_| !caught_up);
            self.catching_up = if count == 0 { pacing } else { pacing.map(|pacing| pacing.after(now)) };
        }
    }
}
