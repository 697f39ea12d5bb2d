//! The lease request: from which lanes it leases how much, and what becomes of the response.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{HeldDelivery, LaneMode, LaneRequest, LeasedDelivery, LeasedLane};

use super::attempts::Start;
use super::config::CoreConfig;
use super::lane::{Lane, PREFETCH_BYTES_MAX, Prefetched};
use super::lanes::Lanes;
use super::messages::Command;
use super::permits::{Permit, Tier};
use super::prefetch::Prefetch;
use super::requester::Requester;

/// Lanes in one request: enough to serve many webhooks with one transaction, few enough to keep it short.
const LANES_IN_REQUEST_MAX: usize = 64;

/// How long a lane rests that has a row that cannot be read.
const CORRUPT_LANE_WAIT: Duration = Duration::from_secs(600);

/// The time between a failed request and the next.
const FAILED_LEASE_WAIT: Duration = Duration::from_secs(1);

/// The lease request that is under way. There is one at a time.
#[derive(Debug)]
pub(super) struct Leasing {
    request: Option<LeaseInFlight>,
    /// The most lanes in the next request.
    lanes_max: usize,
}

/// A lease request under way.
#[derive(Debug)]
pub(super) struct LeaseInFlight {
    lanes: Vec<LeasingLane>,
    lease: Lease,
}

/// A lane in a lease request.
#[derive(Debug)]
pub(super) struct LeasingLane {
    organization: OrganizationId,
    request: LaneRequest,
    /// For deliveries that are sent at once.
    permits: Vec<Permit>,
    /// For deliveries that are prefetched.
    places: Vec<Permit>,
    /// The lane's count of changes when the request began.
    changes: u64,
}

/// The result of a lane's turn in [`Leasing::start`].
enum Turn {
    Leases(LeasingLane),
    NoPermit,
    /// The lane wanted to prefetch only, and there is no place.
    NoPlace,
    NotReady,
}

impl Leasing {
    pub(super) fn new() -> Self {
        Self { request: None, lanes_max: LANES_IN_REQUEST_MAX }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.request.is_some()
    }

    /// True if a request for this lane is under way.
    pub(super) fn is_of(&self, webhook: WebhookId) -> bool {
        let lanes = self.request.iter().flat_map(|request| &request.lanes);
        lanes.into_iter().any(|lane| lane.request.webhook == webhook)
    }

    /// Begins a request, if there is a lane to lease from. `lanes_max` limits it further.
    pub(super) fn start(
        &mut self,
        lanes_max: usize,
        new_lease: impl FnOnce() -> Lease,
        lanes: &mut Lanes,
        prefetch: &mut Prefetch,
        now: Timestamp,
    ) -> Option<Command> {
        let max = lanes_max.min(self.lanes_max);
        let mut gathered = Vec::new();
        // Each tier gets half of the request, and what the other leaves.
        for (tier, max) in [(Tier::Quick, max.div_ceil(2)), (Tier::Unproven, max), (Tier::Quick, max)] {
            gather(&mut gathered, tier, max, lanes, prefetch, now);
        }
        if gathered.is_empty() {
            return None;
        }
        let lease = new_lease();
        let requests = gathered.iter().map(|lane| lane.request).collect();
        self.request = Some(LeaseInFlight { lanes: gathered, lease });
        Some(Command::Lease { lanes: requests, lease })
    }

    /// The request is done.
    pub(super) fn end(&mut self) -> Option<LeaseInFlight> {
        let request = self.request.take()?;
        self.lanes_max = (self.lanes_max * 2).min(LANES_IN_REQUEST_MAX);
        Some(request)
    }

    /// The request failed. If a row cannot be read, lanes are leased one by one, until it is known which lane has the row: the
    /// others must not stop for it.
    pub(super) fn fail(
        &mut self,
        is_corrupt: bool,
        lanes: &mut Lanes,
        prefetch: &mut Prefetch,
        now: Timestamp,
    ) {
        let Some(request) = self.request.take() else { return };
        let wait = match (is_corrupt, request.lanes.len()) {
            (true, 1) => CORRUPT_LANE_WAIT,
            (true, _) => Duration::ZERO,
            (false, _) => FAILED_LEASE_WAIT,
        };
        if is_corrupt {
            self.lanes_max = 1;
        }
        for LeasingLane { organization, request, permits, places, .. } in request.lanes {
            if let Some(lane) = lanes.get_mut(request.webhook) {
                lane.lease_ends(places.len());
                lane.wants_again();
            }
            prefetch.release_places(places);
            permits.into_iter().for_each(|permit| lanes.drop_attempt(request.webhook, permit));
            lanes.note_due(organization, request.webhook, now.after(wait), now);
        }
    }
}

impl LeaseInFlight {
    pub(super) fn into_parts(self) -> (Vec<LeasingLane>, Lease) {
        (self.lanes, self.lease)
    }
}

/// Adds lanes of a tier to a request, until it has `max`.
fn gather(
    gathered: &mut Vec<LeasingLane>,
    tier: Tier,
    max: usize,
    lanes: &mut Lanes,
    prefetch: &mut Prefetch,
    now: Timestamp,
) {
    let mut refused_in_a_row = 0;
    while gathered.len() < max
        && lanes.has_room(tier)
        && refused_in_a_row < lanes.organizations_to_lease(tier)
        && let Some((organization, webhook)) = lanes.take_to_lease(tier)
    {
        if lanes.move_to_tier(organization, webhook, tier) {
            continue;
        }
        match reserve(organization, webhook, lanes, prefetch, now) {
            Turn::Leases(lane) => {
                gathered.push(lane);
                refused_in_a_row = 0;
            }
            Turn::NoPermit => {
                lanes.put_back_to_lease(organization, webhook, tier);
                refused_in_a_row += 1;
            }
            Turn::NotReady => lanes.reschedule(webhook, now),
            // The lane has attempts in flight or prefetched deliveries. It comes back when one of them ends.
            Turn::NoPlace => {}
        }
    }
}

/// Reserves permits and places for what a lane leases.
fn reserve(
    organization: OrganizationId,
    webhook: WebhookId,
    lanes: &mut Lanes,
    prefetch: &mut Prefetch,
    now: Timestamp,
) -> Turn {
    let Some(ready) = lanes.begin_leased(webhook, now) else { return Turn::NotReady };
    if ready.is_refused {
        return Turn::NoPermit;
    }
    let places = prefetch.reserve_many(organization, ready.prefetch);
    let limit = u32::try_from(ready.permits.len() + places.len()).ok().and_then(NonZeroU32::new);
    let Some(limit) = limit else { return Turn::NoPlace };
    ready.lane.lease_begins(places.len());
    Turn::Leases(LeasingLane {
        organization,
        request: LaneRequest { webhook, limit, mode: ready.mode },
        permits: ready.permits,
        places,
        changes: ready.lane.changes(),
    })
}

/// The permits and places for the deliveries that a lane leased.
pub(super) struct Granted {
    webhook: Arc<Webhook>,
    lease: Lease,
    /// When the lease began.
    since: Timestamp,
    trigger: AttemptTrigger,
    permits: std::vec::IntoIter<Permit>,
    places: std::vec::IntoIter<Permit>,
    /// How many attempts the lane may make now.
    room: u32,
    /// True if the lane may prefetch: nothing has changed since the request.
    may_prefetch: bool,
}

/// A decision about a leased delivery.
pub(super) enum Granting {
    Start(Start),
    Prefetch(Prefetched),
    GiveBack(HeldDelivery),
}

impl LeasingLane {
    pub(super) fn webhook(&self) -> WebhookId {
        self.request.webhook
    }

    pub(super) fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The lane learns the response. Returns what it may do with its deliveries.
    ///
    /// # Errors
    /// The webhook was deleted. Permits and places have to be given back.
    pub(super) fn learn(
        self,
        response: &mut LeasedLane,
        lease: Lease,
        lane: &mut Lane,
        config: &CoreConfig,
        now: Timestamp,
    ) -> Result<Granted, Ungranted> {
        let Self { request: LaneRequest { mode, .. }, permits, places, changes, .. } = self;
        lane.lease_ends(places.len());
        let (permits, places) = (permits.into_iter(), places.into_iter());
        let Some(webhook) = response.webhook.take() else {
            lane.learn_deletion();
            return Err(Ungranted { permits, places });
        };
        let is_unchanged = lane.changes() == changes;
        let deliveries = &response.deliveries;
        if let Some(bytes) = deliveries.iter().map(|leased| leased.payload.len()).max() {
            lane.learn_bytes(bytes);
        }
        if lane.take_outdated() {
            lane.note_due(now);
        } else {
            lane.learn_webhook(&webhook, config, now);
        }
        lane.learn_rate(&webhook, now);
        let room = lane.room(now);
        let may_prefetch = is_unchanged && !lane.must_hold_new(now);
        let wait_until = webhook.health.waits_until(now);
        lane.leased(deliveries.len(), mode, response.next_due, wait_until, now);
        let trigger = match mode {
            LaneMode::Due | LaneMode::Pending | LaneMode::Asked => AttemptTrigger::Schedule,
            LaneMode::Probe => AttemptTrigger::Probe,
        };
        let (webhook, since) = (Arc::new(webhook), config.leased_at(lease));
        Ok(Granted { webhook, lease, since, trigger, permits, places, room, may_prefetch })
    }
}

/// Permits and places that a lease request did not use.
pub(super) struct Ungranted {
    permits: std::vec::IntoIter<Permit>,
    places: std::vec::IntoIter<Permit>,
}

impl Ungranted {
    /// Gives it back.
    pub(super) fn give_back(self, webhook: WebhookId, lanes: &mut Lanes, prefetch: &mut Prefetch) {
        prefetch.release_places(self.places);
        self.permits.for_each(|permit| lanes.drop_attempt(webhook, permit));
    }
}

impl Granted {
    pub(super) fn webhook(&self) -> &Arc<Webhook> {
        &self.webhook
    }

    /// Decides about the next delivery. `may_begin` is false if no attempt begins now.
    pub(super) fn grant(&mut self, leased: LeasedDelivery, may_begin: bool) -> Granting {
        let webhook = Arc::clone(&self.webhook);
        if may_begin
            && self.room > 0
            && let Some(permit) = self.permits.next()
        {
            self.room -= 1;
            let requester = Requester::Queue { token: self.lease.token, trigger: self.trigger };
            Granting::Start(Start::new(webhook, leased, requester, permit))
        } else if may_begin
            && self.may_prefetch
            && leased.payload.len() <= PREFETCH_BYTES_MAX
            && let Some(place) = self.places.next()
        {
            Granting::Prefetch(Prefetched::new(webhook, leased, self.lease, self.since, place))
        } else {
            let delivery = leased.delivery.id;
            Granting::GiveBack(HeldDelivery { webhook: webhook.id, delivery, lease: self.lease })
        }
    }

    pub(super) fn into_rest(self) -> Ungranted {
        Ungranted { permits: self.permits, places: self.places }
    }
}
