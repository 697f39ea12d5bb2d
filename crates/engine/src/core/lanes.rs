//! All lanes: their permits, their turns, and the times at which they are ready.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::delivery::Outcome;
use stackbell_model::health::Health;
use stackbell_model::ids::{NodeId, OrganizationId, WebhookId};
use stackbell_model::wait::WaitReason;
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::AttemptRecord;
use stackbell_store::maintenance::LaneDepth;
use stackbell_store::queue::{LaneDue, LaneMode};

use super::breaker::{Breaker, OpenBreaker, OpenBreakers};
use super::config::CoreConfig;
use super::lane::{Lane, Prefetched, Readiness};
use super::messages::SendNow;
use super::permits::{Permit, Permits, Tier};
use super::rendezvous::Neighbours;
use super::round_robin::RoundRobin;
use super::slow_start::SlowStart;
use super::waits::{LaneView, LaneWait, Waits, hold_of};

/// A lane in its place.
#[derive(Debug)]
struct Placed {
    lane: Lane,
    /// The lane's entry in [`Lanes::timers`].
    timer: Option<Timestamp>,
}

impl Placed {
    fn new(lane: Lane) -> Self {
        Self { lane, timer: None }
    }
}

/// All lanes.
///
/// A change of a lane through [`Lanes::get_mut`] is followed by [`Lanes::reschedule`].
#[derive(Debug)]
pub(super) struct Lanes {
    config: Arc<CoreConfig>,
    neighbours: Neighbours,
    lanes: HashMap<WebhookId, Placed>,
    /// Permits of attempts in flight. Each belongs to an attempt that a lane counts.
    permits: Permits,
    /// Lanes that may lease.
    leasing: RoundRobin,
    /// Lanes that may send a prefetched delivery.
    prefetched: RoundRobin,
    /// When other lanes will be ready.
    timers: BTreeSet<(Timestamp, WebhookId)>,
}

/// A decision about a new delivery.
pub(super) enum Admission<'a> {
    /// The delivery is sent at once.
    Attempt(Permit),
    /// The delivery may be prefetched, if there is a place.
    Prefetch(&'a mut Lane),
    /// The delivery waits in the store.
    No,
}

/// The attempts and deliveries for which a lane may lease.
pub(super) struct LeaseAllowance<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) mode: LaneMode,
    /// For attempts.
    pub(super) permits: Vec<Permit>,
    /// True if the lane could make attempts, and got no permit.
    pub(super) is_refused: bool,
    /// How many deliveries it would prefetch beside them.
    pub(super) prefetch: u32,
}

impl Lanes {
    pub(super) fn new(config: Arc<CoreConfig>, neighbours: Neighbours, now: Timestamp) -> Self {
        Self {
            permits: Permits::new(config.in_flight_max, config.organization_in_flight_max)
                .with_slow_start(SlowStart::new(&config, now)),
            config,
            neighbours,
            lanes: HashMap::new(),
            leasing: RoundRobin::default(),
            prefetched: RoundRobin::default(),
            timers: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, webhook: WebhookId) -> Option<&Lane> {
        self.lanes.get(&webhook).map(|placed| &placed.lane)
    }

    pub(super) fn get_mut(&mut self, webhook: WebhookId) -> Option<&mut Lane> {
        self.lanes.get_mut(&webhook).map(|placed| &mut placed.lane)
    }

    /// True if it is known which nodes send.
    pub(super) fn are_nodes_known(&self) -> bool {
        self.neighbours.are_known()
    }

    /// Sets the current time of the permits. Call it before any question about them.
    pub(super) fn tell(&mut self, now: Timestamp) {
        self.permits.tell(now);
    }

    /// Queues the lanes that are ready by now.
    pub(super) fn queue_due(&mut self, now: Timestamp) {
        while let Some((at, webhook)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, webhook));
            if let Some(placed) = self.lanes.get_mut(&webhook) {
                placed.timer = None;
            }
            self.reschedule(webhook, now);
        }
    }

    /// A delivery of a lane is due at `at`.
    pub(super) fn note_due(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        at: Timestamp,
        now: Timestamp,
    ) {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Placed::new(Lane::new(organization, neighbours.share_of(webhook), config));
        self.lanes.entry(webhook).or_insert_with(new).lane.note_due(at);
        self.reschedule(webhook, now);
    }

    /// Puts a lane where it belongs by its readiness: in the turns, among the timers, or nowhere. Drops a lane that nothing
    /// needs any more.
    pub(super) fn reschedule(&mut self, webhook: WebhookId, now: Timestamp) {
        let Some(Placed { lane, timer }) = self.lanes.get_mut(&webhook) else { return };
        if let Some(timer) = timer.take() {
            self.timers.remove(&(timer, webhook));
        }
        if lane.is_spent() {
            self.lanes.remove(&webhook);
            return;
        }
        if lane.prefetched_count() > 0 && lane.may_attempt_prefetched(now) {
            self.prefetched.push(lane.organization(), webhook, lane.tier());
        }
        match lane.readiness(now) {
            Readiness::Now { .. } => self.leasing.push(lane.organization(), webhook, lane.tier()),
            Readiness::At(at) => {
                *timer = Some(at);
                self.timers.insert((at, webhook));
            }
            Readiness::No => {}
        }
    }

    /// When the next lane becomes ready. `may_send` is true if lanes may begin attempts.
    pub(super) fn wake_at(&self, may_send: bool) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        // Unproven lanes that have their turn, and wait for slow start alone.
        let waiting =
            self.leasing.organizations(Tier::Unproven) + self.prefetched.organizations(Tier::Unproven);
        let unproven = self.permits.unproven_rested_at().filter(|_| waiting > 0 && may_send);
        timer.into_iter().chain(unproven).min()
    }

    // Knowledge of lanes.

    /// Learns which nodes are at work. Each lane's part depends on them.
    pub(super) fn learn_nodes(&mut self, nodes: Vec<NodeId>, now: Timestamp) {
        if !self.neighbours.learn(nodes) {
            return;
        }
        for webhook in self.lanes.keys().copied().collect::<Vec<_>>() {
            let share = self.neighbours.share_of(webhook);
            if let Some(Placed { lane, .. }) = self.lanes.get_mut(&webhook) {
                lane.set_share(share, &self.config, now);
            }
            self.reschedule(webhook, now);
        }
    }

    /// Lanes learn the rates of their webhooks, and whether their waits are over.
    pub(super) fn learn_edits(&mut self, webhooks: &[Webhook], now: Timestamp) {
        for webhook in webhooks {
            if let Some(Placed { lane, .. }) = self.lanes.get_mut(&webhook.id) {
                lane.learn_edit(webhook, &self.config, now);
                lane.learn_rate(webhook, now);
                self.reschedule(webhook.id, now);
            }
        }
    }

    /// Learns the health of webhooks that a commit found held. No lane becomes ready by that.
    pub(super) fn learn_held(&mut self, held: &[(WebhookId, Health)], now: Timestamp) {
        for (webhook, health) in held {
            if let Some(Placed { lane, .. }) = self.lanes.get_mut(webhook) {
                lane.learn_health(health, &self.config, now);
            }
        }
    }

    /// A search found these lanes.
    pub(super) fn found(&mut self, found: &[LaneDue], now: Timestamp) {
        for due in found {
            // An edit on another node may have ended the hold since.
            let ago = self.config.held_look_interval;
            if let Some(held) = self.get_mut(due.webhook).filter(|lane| lane.was_held(ago, now)) {
                held.look_again(now);
            }
            self.note_due(due.organization, due.webhook, due.next_due, now);
        }
    }

    /// A person wants pending deliveries sent now.
    pub(super) fn send_now(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        which: SendNow,
        now: Timestamp,
    ) {
        self.note_due(organization, webhook, now, now);
        if let Some(lane) = self.get_mut(webhook) {
            lane.nudge(which, now);
            self.reschedule(webhook, now);
        }
    }

    // Attempts and their permits.

    /// Decides about a new delivery of so many bytes. An admitted attempt is counted from now on.
    pub(super) fn admit(&mut self, webhook: &Webhook, bytes: usize, now: Timestamp) -> Admission<'_> {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Placed::new(Lane::of(webhook, neighbours.share_of(webhook.id), config, now));
        let lane = &mut self.lanes.entry(webhook.id).or_insert_with(new).lane;
        if lane.takes_new(webhook, now)
            && let Some(permit) = self.permits.acquire(webhook.organization, lane.tier())
        {
            lane.attempt_begins();
            return Admission::Attempt(permit);
        }
        if lane.takes_new_prefetched(webhook, bytes, now) { Admission::Prefetch(lane) } else { Admission::No }
    }

    /// Begins an attempt that a person asked for. Only the limits of node and organization hold it back, not those of the lane.
    pub(super) fn begin_on_demand(&mut self, webhook: &Webhook, now: Timestamp) -> Option<Permit> {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Placed::new(Lane::of(webhook, neighbours.share_of(webhook.id), config, now));
        let lane = &mut self.lanes.entry(webhook.id).or_insert_with(new).lane;
        let permit = self.permits.acquire_on_demand(webhook.organization, lane.tier())?;
        lane.attempt_begins();
        Some(permit)
    }

    /// The prefetched delivery that a lane may send now.
    pub(super) fn next_prefetched(&mut self, webhook: WebhookId, now: Timestamp) -> Option<&Prefetched> {
        let lane = self.get_mut(webhook)?;
        if lane.may_attempt_prefetched(now) { lane.first_prefetched() } else { None }
    }

    /// Begins the attempt of a lane's first prefetched delivery, if there is a permit.
    pub(super) fn begin_prefetched(&mut self, webhook: WebhookId) -> Option<(Permit, Prefetched)> {
        let Placed { lane, .. } = self.lanes.get_mut(&webhook)?;
        let permit = self.permits.acquire(lane.organization(), lane.tier())?;
        lane.attempt_begins();
        lane.take_first_prefetched().map(|prefetched| (permit, prefetched))
    }

    /// Begins the attempts that a lane leases for; `None` if it is not ready.
    pub(super) fn begin_leased(&mut self, webhook: WebhookId, now: Timestamp) -> Option<LeaseAllowance<'_>> {
        let Placed { lane, .. } = self.lanes.get_mut(&webhook)?;
        let Readiness::Now { attempts, prefetch, mode } = lane.readiness(now) else { return None };
        let mut permits = Vec::new();
        while permits.len() < attempts as usize
            && let Some(permit) = self.permits.acquire(lane.organization(), lane.tier())
        {
            lane.attempt_begins();
            permits.push(permit);
        }
        let is_refused = permits.is_empty() && attempts > 0;
        Some(LeaseAllowance { lane, mode, permits, is_refused, prefetch })
    }

    /// An attempt that began is not made.
    pub(super) fn drop_attempt(&mut self, webhook: WebhookId, permit: Permit) {
        self.permits.release_unspent(permit);
        self.get_mut(webhook).into_iter().for_each(Lane::attempt_dropped);
    }

    /// The request of an attempt is sent.
    pub(super) fn note_sent(&mut self, webhook: WebhookId, now: Timestamp) {
        if let Some(lane) = self.get_mut(webhook) {
            lane.sends(now);
        }
    }

    /// An attempt has ended.
    pub(super) fn end_attempt(&mut self, record: &AttemptRecord, permit: Permit, now: Timestamp) {
        let AttemptRecord { webhook, revision, attempt, retry_until, .. } = record;
        // Attempts that were not sent, and attempts to quick endpoints, cost other lanes nothing.
        let mut is_unspent = matches!(attempt.outcome, Outcome::Undeliverable { .. });
        if let Some(Placed { lane, .. }) = self.lanes.get_mut(webhook) {
            lane.attempt_ended(attempt, *revision, *retry_until, &self.config, now);
            is_unspent |= lane.tier() == Tier::Quick;
        }
        if is_unspent {
            self.permits.release_unspent(permit);
        } else {
            self.permits.release(permit);
        }
    }

    /// True if the webhook's deliveries go one at a time, in the order of their events.
    pub(super) fn is_ordered(&self, webhook: WebhookId) -> bool {
        self.get(webhook).is_some_and(Lane::is_ordered)
    }

    // Turns.

    /// True if the node has room for another attempt of this tier.
    pub(super) fn has_room(&self, tier: Tier) -> bool {
        self.permits.node_has_room(tier)
    }

    /// How many organizations have lanes of this tier that may lease.
    pub(super) fn organizations_to_lease(&self, tier: Tier) -> usize {
        self.leasing.organizations(tier)
    }

    /// Takes the next lane that may lease.
    pub(super) fn take_to_lease(&mut self, tier: Tier) -> Option<(OrganizationId, WebhookId)> {
        self.leasing.pop(tier)
    }

    /// Moves a lane that was taken to the turns of its tier, if that is no longer `tier`. Returns true if it did.
    pub(super) fn move_to_tier(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        tier: Tier,
    ) -> bool {
        let current = self.get(webhook).map_or(tier, Lane::tier);
        if current != tier {
            self.leasing.push(organization, webhook, current);
        }
        current != tier
    }

    /// Puts back a lane that got no permit.
    pub(super) fn put_back_to_lease(&mut self, organization: OrganizationId, webhook: WebhookId, tier: Tier) {
        self.leasing.put_back(organization, webhook, tier);
    }

    /// How many organizations have lanes of this tier that may send a prefetched delivery.
    pub(super) fn organizations_with_prefetched(&self, tier: Tier) -> usize {
        self.prefetched.organizations(tier)
    }

    /// Takes the next lane that may send a prefetched delivery.
    pub(super) fn take_with_prefetched(&mut self, tier: Tier) -> Option<(OrganizationId, WebhookId)> {
        self.prefetched.pop(tier)
    }

    /// Puts back a lane that got no permit.
    pub(super) fn put_back_with_prefetched(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        tier: Tier,
    ) {
        self.prefetched.put_back(organization, webhook, tier);
    }

    // Views.

    /// Sorts the pending deliveries of these webhooks by the reason for their wait. Costs a lookup for each.
    pub(super) fn waits(&mut self, depths: &[LaneDepth], is_sending_held: bool, now: Timestamp) -> Waits {
        let mut waits = Waits::default();
        for depth in depths {
            let held = hold_of(depth).or_else(|| is_sending_held.then_some(WaitReason::SendingHeld));
            let lane = self.get_mut(depth.webhook);
            let reason = held.or_else(|| lane?.endpoint_wait(now).map(|wait| wait.reason));
            waits.add(depth, reason);
        }
        waits
    }

    /// One webhook's sending. `health` is the webhook's health in the store.
    pub(super) fn view(
        &mut self,
        webhook: WebhookId,
        health: &Health,
        is_sending_held: bool,
        now: Timestamp,
    ) -> LaneView {
        let config = &self.config;
        let share = self.neighbours.share_of(webhook);
        let lane = self.lanes.get_mut(&webhook).map(|placed| &mut placed.lane);
        let unknown = Breaker::CLOSED.view(health, true, share, config);
        let breaker = lane.as_ref().map_or(unknown, |lane| lane.open_breaker(health, config));
        let wait = lane.and_then(|lane| lane.endpoint_wait(now));
        // Another node may have seen more of the endpoint.
        let wait = match (breaker, wait) {
            (Some(OpenBreaker { until, is_our_fault: false }), None) => {
                Some(LaneWait { reason: WaitReason::Breaker, until })
            }
            (None, Some(LaneWait { reason: WaitReason::Breaker, .. })) => None,
            (_, wait) => wait,
        };
        LaneView { breaker, wait, is_sending_held }
    }

    /// Counts the open breakers of this node. Looks at all lanes.
    pub(super) fn open_breakers(&self) -> OpenBreakers {
        let mut open = OpenBreakers::default();
        self.lanes.values().for_each(|placed| open.add(placed.lane.breaker()));
        open
    }
}
