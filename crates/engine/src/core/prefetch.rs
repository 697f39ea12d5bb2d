//! Deliveries leased ahead: leased, and kept here until their lane may send them.
//!
//! A lane whose endpoint answers quickly is done with what it has in flight before the store can be asked for more. So it
//! leases ahead, as many as its endpoint takes in a quarter of a second ([`super::lane::Lane::prefetch_max`]): new deliveries are born leased, and what is due
//! is leased many at a time. A lane has nothing ahead that is held, paced, failing, slow or has fallen silent, or of which
//! nothing is known yet.
//!
//! What is ahead has not been sent. So it is given back, and leased anew if at all, as soon as anything about its webhook
//! changes, when sending is held, when the node stops, and when it is older than [`AGE_MAX`]: URL, secret and state are those
//! of about the moment of the attempt. Until the store has it back nobody else sends it; a crash delays it by as long as a
//! lease lasts.
//!
//! Places for what is ahead are capped like attempts in flight, for the node and for each organization, and large deliveries
//! get none: memory does not grow with the backlog (invariant 6).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{HeldDelivery, LeasedDelivery};

use super::Core;
use super::attempts::Requester;
use super::backoff::Recording;
use super::in_progress::KeptLease;
use super::messages::Command;
use super::permits::{Permit, Tier};

/// How long after its lease a delivery is still begun. Far shorter than a lease lasts, an exchange and a commit besides.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Deliveries with more bytes than this are not kept ahead, but read when they can be sent.
pub(super) const PREFETCH_BYTES_MAX: usize = 32 * 1024;

/// A delivery that is leased and waits for its lane.
#[derive(Debug)]
pub(super) struct Prefetched {
    webhook: Arc<Webhook>,
    leased: LeasedDelivery,
    lease: Lease,
    since: Timestamp,
    /// None for one whose lease is left over from an attempt.
    place: Option<Permit>,
}

impl Prefetched {
    pub(super) fn new(
        webhook: Arc<Webhook>,
        leased: LeasedDelivery,
        lease: Lease,
        since: Timestamp,
        place: Permit,
    ) -> Self {
        Self { webhook, leased, lease, since, place: Some(place) }
    }

    fn left_over(kept: KeptLease, since: Timestamp) -> Self {
        let KeptLease { webhook, leased, lease } = kept;
        Self { webhook, leased, lease, since, place: None }
    }

    pub(super) fn id(&self) -> DeliveryId {
        self.leased.delivery.id
    }

    /// A clock that was set back makes it old.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.since.after(AGE_MAX) && now < self.lease.until
    }
}

/// What became of a lane's turn.
enum Turn {
    Over,
    NoPermit,
}

impl Core {
    /// Keeps a delivery until its lane may send it.
    pub(super) fn keep_prefetched(&mut self, prefetched: Prefetched) {
        let webhook = prefetched.webhook.id;
        match self.lanes.get_mut(&webhook) {
            Some(lane) => {
                let old_at = prefetched.since.after(AGE_MAX);
                if self.prefetched_ages.back() != Some(&(old_at, webhook)) {
                    self.prefetched_ages.push_back((old_at, webhook));
                }
                lane.prefetched.push_back(prefetched);
            }
            None => self.give_back(prefetched),
        }
    }

    /// Whether a delivery is leased and waits for its lane.
    pub(super) fn is_prefetched(&self, webhook: WebhookId, delivery: DeliveryId) -> bool {
        self.lanes
            .get(&webhook)
            .is_some_and(|lane| lane.prefetched.iter().any(|prefetched| prefetched.id() == delivery))
    }

    /// What we still hold a lease of goes as soon as its lane may.
    pub(super) fn go_on_with(&mut self, kept: KeptLease, now: Timestamp) {
        let id = kept.leased.delivery.id;
        self.forget_prefetched(kept.webhook.id, &HashSet::from([id]));
        if self.is_under_way(id) {
            // Somebody who asked for it again may have it end meanwhile; it is read anew.
            self.note_due(kept.webhook.organization, kept.webhook.id, kept.lease.until, now);
            return;
        }
        self.note_due(kept.webhook.organization, kept.webhook.id, now, now);
        let since = self.leased_at(kept.lease);
        self.keep_prefetched(Prefetched::left_over(kept, since));
    }

    /// Starts what is ahead, lane by lane, as far as lanes and caps allow.
    pub(super) fn start_prefetched(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        self.give_back_old(now);
        if !self.may_begin() {
            self.give_back_all();
            return;
        }
        if self.sending.is_in_doubt() {
            return;
        }
        let attempts_max = match self.commit_backoff.recording(now, self.has_something_to_commit()) {
            Recording::Works if !self.is_behind_with_records() => usize::MAX,
            Recording::Untried => 1,
            Recording::Works | Recording::Fails => return,
        };
        let before = self.in_flight.len();
        for tier in [Tier::Quick, Tier::Unproven] {
            let mut refused_in_a_row = 0;
            while self.permits.node_has_room(tier)
                && refused_in_a_row < self.prefetched_turns.organizations(tier)
                && let room = attempts_max.saturating_sub(self.in_flight.len() - before)
                && room > 0
                && let Some((organization, webhook)) = self.prefetched_turns.pop(tier)
            {
                match self.start_prefetched_of(organization, webhook, room, now, commands) {
                    Turn::Over => refused_in_a_row = 0,
                    Turn::NoPermit => {
                        self.prefetched_turns.put_back(organization, webhook, tier);
                        refused_in_a_row += 1;
                    }
                }
            }
        }
    }

    fn start_prefetched_of(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        mut room: usize,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) -> Turn {
        while let Some(lane) = self.lanes.get_mut(&webhook)
            && lane.may_attempt_prefetched(now)
            && room > 0
            && let Some(next) = lane.prefetched.front()
        {
            let (is_fresh, id, tier) = (next.is_fresh(now), next.id(), lane.tier());
            if !is_fresh || self.is_under_way(id) {
                self.drop_first_of(webhook, now);
                continue;
            }
            let Some(permit) = self.permits.acquire(organization, tier) else { return Turn::NoPermit };
            let Some(lane) = self.lanes.get_mut(&webhook) else { break };
            lane.attempt_begins();
            let Some(Prefetched { webhook, leased, lease, place, .. }) = lane.prefetched.pop_front() else {
                break;
            };
            place.into_iter().for_each(|place| self.places.release(place));
            let LeasedDelivery { delivery, payload } = leased;
            let requester = Requester::leased(&delivery, lease.token);
            self.begin_attempt(webhook, delivery, payload, requester, permit, now, commands);
            room -= 1;
        }
        self.reschedule(webhook, now);
        Turn::Over
    }

    /// One that is too old is given back. One that is under way by somebody's wish is had again when its lease is over.
    fn drop_first_of(&mut self, webhook: WebhookId, now: Timestamp) {
        let Some(first) = self.lanes.get_mut(&webhook).and_then(|lane| lane.prefetched.pop_front()) else {
            return;
        };
        if self.is_under_way(first.id()) && first.lease.until > now {
            first.place.into_iter().for_each(|place| self.places.release(place));
            self.note_due(first.webhook.organization, webhook, first.lease.until, now);
        } else {
            self.give_back(first);
        }
    }

    /// Forgets what is ahead of these: another lease of them is known, or somebody sends them by their own wish.
    pub(super) fn forget_prefetched(&mut self, webhook: WebhookId, ids: &HashSet<DeliveryId>) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        if lane.prefetched.iter().any(|prefetched| ids.contains(&prefetched.id())) {
            let (forgotten, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut lane.prefetched)
                .into_iter()
                .partition(|prefetched| ids.contains(&prefetched.id()));
            lane.prefetched = others;
            let places = forgotten.into_iter().filter_map(|prefetched| prefetched.place);
            places.for_each(|place| self.places.release(place));
        }
    }

    /// Somebody wants a delivery sent now: what was leased of it is left alone until its lease is over.
    pub(super) fn leave_to_asker(&mut self, webhook: WebhookId, delivery: DeliveryId, now: Timestamp) {
        let Some(lane) = self.lanes.get(&webhook) else { return };
        let until = lane
            .prefetched
            .iter()
            .find(|prefetched| prefetched.id() == delivery)
            .map(|prefetched| prefetched.lease.until);
        if let Some(until) = until {
            let organization = lane.organization;
            self.forget_prefetched(webhook, &HashSet::from([delivery]));
            self.note_due(organization, webhook, until, now);
        }
    }

    /// Gives back what a lane has ahead beyond what it may have now. A little more than that is not worth a request.
    pub(super) fn trim_prefetched(&mut self, webhook: WebhookId) {
        let Some(lane) = self.lanes.get(&webhook) else { return };
        let max = lane.prefetch_max() as usize;
        if lane.prefetched.len() > 2 * max {
            self.give_back_beyond(webhook, max);
        }
    }

    /// Something about a webhook or one of its deliveries changed: what is ahead of it is leased anew.
    pub(super) fn give_back_of(&mut self, webhook: WebhookId) {
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.changes += 1;
        }
        self.give_back_beyond(webhook, 0);
    }

    /// Gives back what has grown old, whether its lane may go or not: others may be quicker.
    fn give_back_old(&mut self, now: Timestamp) {
        while let Some((_, webhook)) = self.prefetched_ages.pop_front_if(|(old_at, _)| *old_at <= now) {
            while let Some(lane) = self.lanes.get_mut(&webhook)
                && let Some(first) = lane.prefetched.pop_front_if(|prefetched| !prefetched.is_fresh(now))
            {
                lane.stalls();
                self.give_back(first);
            }
        }
    }

    /// When the next of what is ahead is too old.
    pub(super) fn prefetched_is_old_at(&self) -> Option<Timestamp> {
        self.prefetched_ages.front().map(|(old_at, _)| *old_at)
    }

    /// When a lease of ours was asked for.
    pub(super) fn leased_at(&self, lease: Lease) -> Timestamp {
        lease.until.before(self.config.lease_for)
    }

    fn give_back_beyond(&mut self, webhook: WebhookId, max: usize) {
        while let Some(lane) = self.lanes.get_mut(&webhook)
            && lane.prefetched.len() > max
            && let Some(last) = lane.prefetched.pop_back()
        {
            self.give_back(last);
        }
    }

    fn give_back_all(&mut self) {
        // Whatever is ahead has its age in there.
        for (_, webhook) in std::mem::take(&mut self.prefetched_ages) {
            self.give_back_beyond(webhook, 0);
        }
    }

    /// Gives back a lease that was never kept here.
    pub(super) fn give_back_one(&mut self, held: HeldDelivery) {
        self.to_release.push(held);
    }

    fn give_back(&mut self, prefetched: Prefetched) {
        let Prefetched { webhook, leased, lease, place, .. } = prefetched;
        place.into_iter().for_each(|place| self.places.release(place));
        // Also where the lease should be over: the store may see that otherwise, and its answer has us look again.
        self.to_release.push(HeldDelivery { webhook: webhook.id, delivery: leased.delivery.id, lease });
    }

    /// Gives back in the store what was given back here.
    pub(super) fn start_release(&mut self, commands: &mut Vec<Command>) {
        if !self.to_release.is_empty() {
            self.releases_under_way += 1;
            commands.push(Command::Release { held: std::mem::take(&mut self.to_release) });
        }
    }

    /// `done`: others, and we, can have these now; else when their leases are over.
    pub(super) fn released(&mut self, held: &[HeldDelivery], done: bool, now: Timestamp) {
        self.releases_under_way -= 1;
        for HeldDelivery { webhook, lease, .. } in held {
            if let Some(lane) = self.lanes.get_mut(webhook) {
                lane.note_due(if done { now } else { lease.until });
                self.reschedule(*webhook, now);
            }
        }
    }
}
