//! Prefetch: deliveries that are leased early, and kept until their lane may send them.
//!
//! A lane whose endpoint responds quickly ends its attempts in flight before the store can be asked for more deliveries. So it
//! prefetches as many as its endpoint takes in a quarter of a second ([`super::lane::Lane::prefetch_max`]): new deliveries are
//! leased at their commit, and due deliveries are leased many at a time. A lane that is held, paced, failing, slow or new
//! prefetches nothing.
//!
//! A prefetched delivery has not been sent. It is given back to the store when anything about its webhook changes, when sending
//! is held, when the node stops, and when it is older than a second. An attempt therefore uses the URL, the secret and the state
//! of about its own moment. Until the store has the delivery back, no other node sends it; a crash delays it by as long as a
//! lease lasts.
//!
//! Places for prefetched deliveries are limited like attempts in flight, for the node and for each organization, and a large
//! delivery gets none: memory does not grow with the backlog (invariant 6).

use std::collections::{HashSet, VecDeque};

use stackbell_model::Timestamp;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_store::queue::HeldDelivery;

use super::attempts::Start;
use super::config::CoreConfig;
use super::in_progress::InProgress;
use super::lane::{Lane, Prefetched};
use super::lanes::Lanes;
use super::messages::Command;
use super::permits::{Permit, Permits, Tier};
use super::requester::Requester;

/// The places of prefetched deliveries, and their way back to the store. The deliveries themselves are in their lanes.
#[derive(Debug)]
pub(super) struct Prefetch {
    places: Permits,
    /// When prefetched deliveries are too old, the earliest first unless the clock jumps. The deliveries may be gone by then.
    ages: VecDeque<(Timestamp, WebhookId)>,
    /// Leases to give back to the store.
    to_release: Vec<HeldDelivery>,
    releases_under_way: usize,
}

/// The next step of a lane that has prefetched deliveries.
#[expect(clippy::large_enum_variant, reason = "an attempt begins without an allocation for it")]
pub(super) enum Next {
    /// The lane sends this.
    Start(Start),
    /// The lane gets no permit.
    NoPermit,
    /// The lane sends nothing now.
    Nothing,
}

impl Prefetch {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            places: Permits::new(config.prefetch_max, config.organization_prefetch_max),
            ages: VecDeque::new(),
            to_release: Vec::new(),
            releases_under_way: 0,
        }
    }

    /// True if nothing is given back now.
    pub(super) fn is_idle(&self) -> bool {
        self.to_release.is_empty() && self.releases_under_way == 0
    }

    /// When the next prefetched delivery is too old.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.ages.front().map(|(old_at, _)| *old_at)
    }

    /// Takes a place.
    pub(super) fn reserve(&mut self, organization: OrganizationId) -> Option<Permit> {
        self.places.acquire(organization, Tier::Quick)
    }

    /// Takes up to so many places.
    pub(super) fn reserve_many(&mut self, organization: OrganizationId, count: u32) -> Vec<Permit> {
        let places = std::iter::from_fn(|| self.places.acquire(organization, Tier::Quick));
        places.take(count as usize).collect()
    }

    /// Gives places back.
    pub(super) fn release_places(&mut self, places: impl IntoIterator<Item = Permit>) {
        places.into_iter().for_each(|place| self.places.release(place));
    }

    /// Keeps a delivery until its lane may send it.
    pub(super) fn keep(&mut self, prefetched: Prefetched, lanes: &mut Lanes) {
        let webhook = prefetched.webhook();
        match lanes.get_mut(webhook) {
            Some(lane) => {
                let age = (prefetched.old_at(), webhook);
                if self.ages.back() != Some(&age) {
                    self.ages.push_back(age);
                }
                lane.keep_prefetched(prefetched);
            }
            None => self.give_back(prefetched),
        }
    }

    /// Begins the attempt of a lane's next prefetched delivery, if the lane may send and there is a permit.
    pub(super) fn next(
        &mut self,
        webhook: WebhookId,
        lanes: &mut Lanes,
        in_progress: &InProgress,
        now: Timestamp,
    ) -> Next {
        while let Some(next) = lanes.next_prefetched(webhook, now) {
            if !next.is_fresh(now) || in_progress.contains(next.delivery()) {
                self.drop_first_of(webhook, lanes, in_progress, now);
                continue;
            }
            let Some((permit, prefetched)) = lanes.begin_prefetched(webhook) else { return Next::NoPermit };
            let (webhook, leased, lease, place) = prefetched.into_parts();
            self.release_places(place);
            let requester = Requester::queue(&leased.delivery, lease.token);
            return Next::Start(Start::new(webhook, leased, requester, permit));
        }
        Next::Nothing
    }

    /// Gives back a delivery that is too old. A redelivery in progress is left alone until its lease is over.
    fn drop_first_of(
        &mut self,
        webhook: WebhookId,
        lanes: &mut Lanes,
        in_progress: &InProgress,
        now: Timestamp,
    ) {
        let first = lanes.get_mut(webhook).and_then(Lane::take_first_prefetched);
        let Some(first) = first else { return };
        let until = first.lease().until;
        if in_progress.contains(first.delivery()) && until > now {
            lanes.note_due(first.organization(), webhook, until, now);
            let (.., place) = first.into_parts();
            self.release_places(place);
        } else {
            self.give_back(first);
        }
    }

    /// Forgets prefetched deliveries: another lease of them is known, or a person has them sent.
    pub(super) fn forget(&mut self, webhook: WebhookId, ids: &HashSet<DeliveryId>, lanes: &mut Lanes) {
        let Some(lane) = lanes.get_mut(webhook) else { return };
        let forgotten = lane.take_prefetched(ids);
        self.release_places(forgotten.into_iter().filter_map(|prefetched| prefetched.into_parts().3));
    }

    /// A person wants a delivery sent now. A prefetched one is left to that request until its lease is over.
    pub(super) fn leave_to_request(
        &mut self,
        webhook: WebhookId,
        delivery: DeliveryId,
        lanes: &mut Lanes,
        now: Timestamp,
    ) {
        let Some(lane) = lanes.get(webhook) else { return };
        if let Some(until) = lane.find_prefetched(delivery).map(|prefetched| prefetched.lease().until) {
            let organization = lane.organization();
            self.forget(webhook, &HashSet::from([delivery]), lanes);
            lanes.note_due(organization, webhook, until, now);
        }
    }

    /// Gives back the deliveries beyond those that a lane may prefetch now. A few are not worth a request.
    pub(super) fn trim(&mut self, webhook: WebhookId, lanes: &mut Lanes) {
        let Some(lane) = lanes.get(webhook) else { return };
        let max = lane.prefetch_max() as usize;
        if lane.prefetched_count() > 2 * max {
            self.give_back_beyond(webhook, max, lanes);
        }
    }

    /// A webhook or one of its deliveries changed: gives back all that its lane has prefetched.
    pub(super) fn give_back_changed(&mut self, webhook: WebhookId, lanes: &mut Lanes) {
        if let Some(lane) = lanes.get_mut(webhook) {
            lane.note_change();
        }
        self.give_back_beyond(webhook, 0, lanes);
    }

    /// Gives back the deliveries that are too old, even if their lane may send: another node may be faster.
    pub(super) fn give_back_old(&mut self, lanes: &mut Lanes, now: Timestamp) {
        while let Some((_, webhook)) = self.ages.pop_front_if(|(old_at, _)| *old_at <= now) {
            while let Some(lane) = lanes.get_mut(webhook)
                && let Some(old) = lane.take_old_prefetched(now)
            {
                self.give_back(old);
            }
        }
    }

    /// Gives back all.
    pub(super) fn give_back_all(&mut self, lanes: &mut Lanes) {
        // Each prefetched delivery has an entry there.
        for (_, webhook) in std::mem::take(&mut self.ages) {
            self.give_back_beyond(webhook, 0, lanes);
        }
    }

    fn give_back_beyond(&mut self, webhook: WebhookId, max: usize, lanes: &mut Lanes) {
        while let Some(lane) = lanes.get_mut(webhook)
            && lane.prefetched_count() > max
            && let Some(last) = lane.take_last_prefetched()
        {
            self.give_back(last);
        }
    }

    fn give_back(&mut self, prefetched: Prefetched) {
        let (webhook, leased, lease, place) = prefetched.into_parts();
        self.release_places(place);
        // A lease that is over here may still count in the store. The response says when to look again.
        self.release(HeldDelivery { webhook: webhook.id, delivery: leased.delivery.id, lease });
    }

    /// Gives back a lease.
    pub(super) fn release(&mut self, held: HeldDelivery) {
        self.to_release.push(held);
    }

    /// Gives leases back to the store.
    pub(super) fn start_release(&mut self) -> Option<Command> {
        if self.to_release.is_empty() {
            return None;
        }
        self.releases_under_way += 1;
        Some(Command::Release { held: std::mem::take(&mut self.to_release) })
    }

    /// Leases were given back. If `done` is false, they could not be, and end at their deadlines.
    pub(super) fn released(&mut self, held: &[HeldDelivery], done: bool, lanes: &mut Lanes, now: Timestamp) {
        self.releases_under_way -= 1;
        for HeldDelivery { webhook, lease, .. } in held {
            if let Some(lane) = lanes.get_mut(*webhook) {
                lane.note_due(if done { now } else { lease.until });
                lanes.reschedule(*webhook, now);
            }
        }
    }
}
