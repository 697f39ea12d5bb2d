//! Leasing what is due: which lanes, how much of each.

use std::num::NonZeroU32;

use stackbell_model::Timestamp;
use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{
    HeldDelivery, LaneDue, LaneMode, LaneRequest, Leased, LeasedDelivery, LeasedLane,
};

use super::Core;
use super::attempts::Requester;
use super::backoff::Recording;
use super::in_progress::KeptLease;
use super::lane::{Lane, Readiness};
use super::messages::{Command, OnDemandRefusal};
use super::permits::{Permit, Tier};
use super::prefetch::{PREFETCH_BYTES_MAX, Prefetched};

/// Lanes in one request: enough to serve many webhooks with one transaction, few enough to keep it short.
pub(super) const LANES_IN_REQUEST_MAX: usize = 64;

/// Lanes in one page of a search.
const LANES_IN_PAGE: u32 = 1000;

/// How long a lane rests of which a row cannot be read.
const CORRUPT_LANE_WAIT: std::time::Duration = std::time::Duration::from_secs(600);

/// How long after a failed request the store is asked again.
const FAILED_LEASE_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug)]
struct LeasingLane {
    organization: OrganizationId,
    request: LaneRequest,
    permits: Vec<Permit>,
    /// Places for what is leased beyond them.
    places: Vec<Permit>,
    /// How often the lane had changed by then.
    changes: u64,
}

#[derive(Debug)]
pub(super) struct LeaseInFlight {
    lanes: Vec<LeasingLane>,
    lease: Lease,
}

impl LeaseInFlight {
    /// Whether it asks of this webhook's lane.
    pub(super) fn is_of(&self, webhook: WebhookId) -> bool {
        self.lanes.iter().any(|lane| lane.request.webhook == webhook)
    }
}

/// Looking, now and then, for lanes with something pending that nobody told us of: after a start, and by other nodes.
/// Once it has got to its end it begins anew at `again`, if something happened meanwhile that it may have missed.
#[derive(Debug)]
pub(super) struct LanesSearch {
    step: SearchStep,
    again: Option<Timestamp>,
    /// When it last began.
    began_at: Option<Timestamp>,
}

#[derive(Debug)]
enum SearchStep {
    /// It is to begin.
    Due { at: Timestamp },
    /// It is to go on behind this one.
    Next { after: WebhookId },
    /// A page is being read.
    UnderWay,
}

impl LanesSearch {
    pub(super) fn due(at: Timestamp) -> Self {
        Self { step: SearchStep::Due { at }, again: None, began_at: None }
    }

    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.step {
            SearchStep::Due { at } => Some(at),
            SearchStep::Next { .. } => Some(now),
            SearchStep::UnderWay => None,
        }
    }

    /// Begins by then, from the beginning.
    fn want(&mut self, by: Timestamp) {
        match &mut self.step {
            SearchStep::Due { at } => *at = by.min(*at),
            SearchStep::Next { .. } | SearchStep::UnderWay => {
                self.again = Some(self.again.map_or(by, |again| again.min(by)));
            }
        }
    }

    /// The next page to read.
    fn next_page(&mut self, now: Timestamp) -> Option<Option<WebhookId>> {
        let after = match self.step {
            SearchStep::Due { at } if at <= now => {
                self.began_at = Some(now);
                None
            }
            SearchStep::Next { after } => Some(after),
            SearchStep::Due { .. } | SearchStep::UnderWay => return None,
        };
        self.step = SearchStep::UnderWay;
        Some(after)
    }

    fn ends(&mut self, next_at: Timestamp) {
        let at = self.again.take().map_or(next_at, |again| again.min(next_at));
        self.step = SearchStep::Due { at };
    }
}

impl Core {
    /// Something of a lane is due at `at`.
    pub(super) fn note_due(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        at: Timestamp,
        now: Timestamp,
    ) {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Lane::new(organization, neighbours.share_of(webhook), config);
        self.lanes.entry(webhook).or_insert_with(new).note_due(at);
        self.reschedule(webhook, now);
    }

    /// Puts a lane where its readiness belongs: into the ring, among the timers, or nowhere. Drops one that is spent.
    pub(super) fn reschedule(&mut self, webhook: WebhookId, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        if let Some(timer) = lane.timer.take() {
            self.timers.remove(&(timer, webhook));
        }
        if lane.is_spent() {
            self.lanes.remove(&webhook);
            return;
        }
        if !lane.prefetched.is_empty() && lane.may_attempt_prefetched(now) {
            self.prefetched_turns.push(lane.organization, webhook, lane.tier());
        }
        match lane.readiness(now) {
            Readiness::Now { .. } => self.turns.push(lane.organization, webhook, lane.tier()),
            Readiness::At(at) => {
                lane.timer = Some(at);
                self.timers.insert((at, webhook));
            }
            Readiness::No => {}
        }
    }

    pub(super) fn queue_due_lanes(&mut self, now: Timestamp) {
        while let Some((at, webhook)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, webhook));
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.timer = None;
            }
            self.reschedule(webhook, now);
        }
    }

    pub(super) fn webhook_changed(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.snapshots.remove(&organization);
        self.give_back_of(webhook);
        self.refuse_on_demand(OnDemandRefusal::Changed, commands, |waiting| {
            waiting.request.webhook().id == webhook
        });
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.look_again(now);
            // A lane that waits would not learn before then that it need not.
            if lane.may_wait_long() {
                if self.loading.insert(organization) {
                    commands.push(Command::LoadWebhooks { organization });
                } else {
                    self.outdated_loads.insert(organization);
                }
            }
            self.reschedule(webhook, now);
        }
    }

    /// An edit has a webhook go on, whatever held it.
    pub(super) fn webhook_set_going(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.note_due(organization, webhook, now, now);
        self.lanes.get_mut(&webhook).into_iter().for_each(Lane::note_set_going);
        self.webhook_changed(organization, webhook, now, commands);
    }

    /// Lanes learn what their webhooks are paced to now, and whether they need not wait any more.
    pub(super) fn learn_edits(&mut self, webhooks: &[Webhook], now: Timestamp) {
        for webhook in webhooks {
            if let Some(lane) = self.lanes.get_mut(&webhook.id) {
                lane.learn_edit(webhook, &self.config, now);
                lane.learn_rate(webhook, now);
                self.reschedule(webhook.id, now);
            }
        }
    }

    pub(super) fn start_lease(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.leasing.is_some() || !self.may_send() {
            return;
        }
        let max = match self.commit_backoff.recording(now, self.has_something_to_commit()) {
            Recording::Works => self.lanes_in_request,
            Recording::Untried => 1,
            Recording::Fails => return,
        };
        let mut lanes = Vec::new();
        // Each pace gets half of the places, and what the other leaves.
        for (tier, max) in [(Tier::Quick, max.div_ceil(2)), (Tier::Unproven, max), (Tier::Quick, max)] {
            self.gather_lanes(tier, max, now, &mut lanes);
        }
        if lanes.is_empty() {
            return;
        }
        let lease = self.new_lease(now);
        commands.push(Command::Lease { lanes: lanes.iter().map(|lane| lane.request).collect(), lease });
        self.leasing = Some(LeaseInFlight { lanes, lease });
    }

    fn gather_lanes(&mut self, tier: Tier, max: usize, now: Timestamp, lanes: &mut Vec<LeasingLane>) {
        let mut refused_in_a_row = 0;
        while lanes.len() < max
            && self.permits.node_has_room(tier)
            && refused_in_a_row < self.turns.organizations(tier)
        {
            let Some((organization, webhook)) = self.turns.pop(tier) else { return };
            let current = self.lanes.get(&webhook).map_or(tier, Lane::tier);
            if current != tier {
                self.turns.push(organization, webhook, current);
                continue;
            }
            match self.reserve(organization, webhook, now) {
                Reservation::Made(lane) => {
                    lanes.push(lane);
                    refused_in_a_row = 0;
                }
                Reservation::NoPermit => {
                    self.turns.put_back(organization, webhook, tier);
                    refused_in_a_row += 1;
                }
                Reservation::NotReady => self.reschedule(webhook, now),
                // It has attempts in flight or deliveries ahead, and comes again with them.
                Reservation::NoPlace => {}
            }
        }
    }

    fn reserve(&mut self, organization: OrganizationId, webhook: WebhookId, now: Timestamp) -> Reservation {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return Reservation::NotReady };
        let Readiness::Now { attempts, prefetch, mode } = lane.readiness(now) else {
            return Reservation::NotReady;
        };
        let mut permits = Vec::new();
        while permits.len() < attempts as usize
            && let Some(permit) = self.permits.acquire(organization, lane.tier())
        {
            lane.attempt_begins();
            permits.push(permit);
        }
        if permits.is_empty() && attempts > 0 {
            return Reservation::NoPermit;
        }
        let places = std::iter::from_fn(|| self.places.acquire(organization, Tier::Quick));
        let places: Vec<Permit> = places.take(prefetch as usize).collect();
        let limit = u32::try_from(permits.len() + places.len()).ok().and_then(NonZeroU32::new);
        let Some(limit) = limit else { return Reservation::NoPlace };
        lane.lease_begins(places.len());
        let changes = lane.changes;
        Reservation::Made(LeasingLane {
            organization,
            request: LaneRequest { webhook, limit, mode },
            permits,
            places,
            changes,
        })
    }

    pub(super) fn leased(&mut self, leased: Leased, now: Timestamp, commands: &mut Vec<Command>) {
        let Some(LeaseInFlight { lanes, lease }) = self.leasing.take() else { return };
        let Leased { lanes: responses, sending_held } = leased;
        debug_assert_eq!(lanes.len(), responses.len());
        self.sending_found(sending_held, now);
        self.lanes_in_request = (self.lanes_in_request * 2).min(LANES_IN_REQUEST_MAX);
        for (asked, response) in lanes.into_iter().zip(responses) {
            self.lane_leased(asked, response, lease, now, commands);
        }
        self.sort_superseded(now, commands);
    }

    fn lane_leased(
        &mut self,
        asked: LeasingLane,
        response: LeasedLane,
        lease: Lease,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let LeasingLane { organization, request, permits, places, changes } = asked;
        let (mut permits, mut places) = (permits.into_iter(), places.into_iter());
        if !response.deliveries.is_empty() {
            let ids = response.deliveries.iter().map(|leased| leased.delivery.id).collect();
            self.forget_prefetched(request.webhook, &ids);
        }
        // A lane of which a lease is asked is not dropped.
        let Some(lane) = self.lanes.get_mut(&request.webhook) else { return };
        lane.lease_ends(places.len());
        if let Some(webhook) = response.webhook {
            let mut is_as_it_was = lane.changes == changes;
            if let Some(bytes) = response.deliveries.iter().map(|leased| leased.payload.len()).max() {
                lane.learn_bytes(bytes);
            }
            if lane.take_outdated() {
                lane.note_due(now);
            } else {
                lane.learn_webhook(&webhook, &self.config, now);
            }
            lane.learn_rate(&webhook, now);
            let mut room = lane.room(now);
            is_as_it_was &= !lane.must_hold_new(now);
            let wait_until = webhook.health.waits_until(now);
            lane.leased(response.deliveries.len(), request.mode, response.next_due, wait_until, now);
            let webhook = std::sync::Arc::new(webhook);
            let trigger = match request.mode {
                LaneMode::Due | LaneMode::Pending | LaneMode::Asked => AttemptTrigger::Schedule,
                LaneMode::Probe => AttemptTrigger::Probe,
            };
            for leased in response.deliveries {
                let is_under_way = self.is_under_way(leased.delivery.id);
                if is_under_way || lease.until <= now {
                    self.note_due(organization, request.webhook, lease.until, now);
                    self.keep_lease(KeptLease { webhook: std::sync::Arc::clone(&webhook), leased, lease });
                    continue;
                }
                let webhook = std::sync::Arc::clone(&webhook);
                if self.may_begin()
                    && room > 0
                    && let Some(permit) = permits.next()
                {
                    room -= 1;
                    let requester = Requester::Leased { token: lease.token, trigger };
                    let LeasedDelivery { delivery, payload } = leased;
                    self.begin_attempt(webhook, delivery, payload, requester, permit, now, commands);
                } else if self.may_begin()
                    && is_as_it_was
                    && leased.payload.len() <= PREFETCH_BYTES_MAX
                    && let Some(place) = places.next()
                {
                    let since = self.leased_at(lease);
                    self.keep_prefetched(Prefetched::new(webhook, leased, lease, since, place));
                } else {
                    self.give_back_one(HeldDelivery {
                        webhook: webhook.id,
                        delivery: leased.delivery.id,
                        lease,
                    });
                }
            }
        } else {
            lane.learn_deletion();
            self.give_back_of(request.webhook);
        }
        places.for_each(|place| self.places.release(place));
        for permit in permits {
            self.permits.release_unspent(permit);
            if let Some(lane) = self.lanes.get_mut(&request.webhook) {
                lane.attempt_dropped();
            }
        }
        self.trim_prefetched(request.webhook);
        self.reschedule(request.webhook, now);
    }

    /// A row that cannot be read must not stop the lanes that it does not belong to: they are asked for one by one,
    /// until it is known which it is.
    pub(super) fn lease_failed(&mut self, corrupt: bool, now: Timestamp, commands: &mut Vec<Command>) {
        let Some(LeaseInFlight { lanes, .. }) = self.leasing.take() else { return };
        let wait = match (corrupt, lanes.len()) {
            (true, 1) => CORRUPT_LANE_WAIT,
            (true, _) => std::time::Duration::ZERO,
            (false, _) => FAILED_LEASE_WAIT,
        };
        if corrupt {
            self.lanes_in_request = 1;
        }
        for LeasingLane { organization, request, permits, places, .. } in lanes {
            let lane = self.lanes.get_mut(&request.webhook);
            if let Some(lane) = lane {
                lane.lease_ends(places.len());
                lane.wants_again();
                permits.iter().for_each(|_| lane.attempt_dropped());
            }
            places.into_iter().for_each(|place| self.places.release(place));
            permits.into_iter().for_each(|permit| self.permits.release_unspent(permit));
            self.note_due(organization, request.webhook, now.after(wait), now);
        }
        self.sort_superseded(now, commands);
    }

    pub(super) fn start_lanes_search(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.stopping {
            return;
        }
        if let Some(after) = self.lanes_search.next_page(now) {
            commands.push(Command::FindLanes { after, limit: LANES_IN_PAGE });
        }
    }

    /// Deliveries may be in the store that nobody told us of.
    pub(super) fn search_lanes_now(&mut self, now: Timestamp) {
        self.lanes_search.want(now);
    }

    /// The same, where others may say so all the time.
    pub(super) fn woken_up(&mut self, now: Timestamp) {
        let began_at = self.lanes_search.began_at.filter(|began_at| *began_at <= now);
        let not_before = began_at.map_or(now, |began_at| began_at.after(self.config.woken_search_interval));
        self.lanes_search.want(not_before.max(now));
    }

    pub(super) fn lanes_found(&mut self, found: &[LaneDue], now: Timestamp) {
        for lane in found {
            // What was learnt of a hold may have been overtaken by an edit that nobody told us of.
            let ago = self.config.held_look_interval;
            if let Some(held) = self.lanes.get_mut(&lane.webhook).filter(|lane| lane.was_held(ago, now)) {
                held.look_again(now);
            }
            self.note_due(lane.organization, lane.webhook, lane.next_due, now);
        }
        match found.last() {
            Some(last) if found.len() >= LANES_IN_PAGE as usize => {
                self.lanes_search.step = SearchStep::Next { after: last.webhook };
            }
            Some(_) | None => self.lanes_search.ends(now.after(self.config.lanes_search_interval)),
        }
    }

    pub(super) fn lanes_not_found(&mut self, now: Timestamp) {
        self.lanes_search.again = None;
        self.lanes_search.ends(now.after(FAILED_LEASE_WAIT));
    }
}

enum Reservation {
    Made(LeasingLane),
    NoPermit,
    /// It wanted more ahead alone, for which there is no place.
    NoPlace,
    NotReady,
}
