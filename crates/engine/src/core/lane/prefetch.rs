//! A lane's prefetched deliveries: at most as many as its endpoint takes in [`PREFETCH_TIME`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::Lease;
use stackbell_store::queue::LeasedDelivery;

use super::{Hold, Lane};
use crate::core::in_progress::KeptLease;
use crate::core::pacer::Rate;
use crate::core::permits::{Permit, Tier};

/// A lane prefetches as many deliveries as its endpoint takes in this time.
pub(in crate::core) const PREFETCH_TIME: Duration = Duration::from_millis(250);

/// The largest delivery that is prefetched, in bytes. A larger delivery is read when it can be sent.
pub(in crate::core) const PREFETCH_BYTES_MAX: usize = 32 * 1024;

/// The longest time from the lease of a prefetched delivery to its attempt. The rest of the lease must be long enough for an
/// exchange and a commit.
const AGE_MAX: Duration = Duration::from_secs(1);

/// A delivery that is leased and waits for its lane.
#[derive(Debug)]
pub(in crate::core) struct Prefetched {
    webhook: Arc<Webhook>,
    leased: LeasedDelivery,
    lease: Lease,
    since: Timestamp,
    /// `None` for a delivery whose lease was left over from an attempt.
    place: Option<Permit>,
}

impl Prefetched {
    /// `since` is the start of the lease.
    pub(in crate::core) fn new(
        webhook: Arc<Webhook>,
        leased: LeasedDelivery,
        lease: Lease,
        since: Timestamp,
        place: Permit,
    ) -> Self {
        Self { webhook, leased, lease, since, place: Some(place) }
    }

    /// A delivery whose lease was left over from an attempt.
    pub(in crate::core) fn left_over(kept: KeptLease, since: Timestamp) -> Self {
        let (webhook, leased, lease) = kept.into_parts();
        Self { webhook, leased, lease, since, place: None }
    }

    pub(in crate::core) fn delivery(&self) -> DeliveryId {
        self.leased.delivery.id
    }

    pub(in crate::core) fn webhook(&self) -> WebhookId {
        self.webhook.id
    }

    pub(in crate::core) fn organization(&self) -> OrganizationId {
        self.webhook.organization
    }

    pub(in crate::core) fn lease(&self) -> Lease {
        self.lease
    }

    /// When it is too old to be sent.
    pub(in crate::core) fn old_at(&self) -> Timestamp {
        self.since.after(AGE_MAX)
    }

    /// True if it may be sent. A clock that was set back makes it old.
    pub(in crate::core) fn is_fresh(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.old_at() && now < self.lease.until
    }

    pub(in crate::core) fn into_parts(self) -> (Arc<Webhook>, LeasedDelivery, Lease, Option<Permit>) {
        (self.webhook, self.leased, self.lease, self.place)
    }
}

impl Lane {
    /// The number of changes of its webhook or deliveries.
    pub(in crate::core) fn changes(&self) -> u64 {
        self.changes
    }

    /// Counts a change of its webhook or of one of its deliveries.
    pub(in crate::core) fn note_change(&mut self) {
        self.changes += 1;
    }

    /// Keeps a delivery until it may be sent.
    pub(in crate::core) fn keep_prefetched(&mut self, prefetched: Prefetched) {
        self.prefetched.push_back(prefetched);
    }

    pub(in crate::core) fn prefetched_count(&self) -> usize {
        self.prefetched.len()
    }

    /// The prefetched delivery with this id.
    pub(in crate::core) fn find_prefetched(&self, delivery: DeliveryId) -> Option<&Prefetched> {
        self.prefetched.iter().find(|prefetched| prefetched.delivery() == delivery)
    }

    /// The prefetched delivery with the oldest lease.
    pub(in crate::core) fn first_prefetched(&self) -> Option<&Prefetched> {
        self.prefetched.front()
    }

    pub(in crate::core) fn take_first_prefetched(&mut self) -> Option<Prefetched> {
        self.prefetched.pop_front()
    }

    pub(in crate::core) fn take_last_prefetched(&mut self) -> Option<Prefetched> {
        self.prefetched.pop_back()
    }

    /// Takes the first prefetched delivery if it is too old. The lane then prefetches nothing until the next response: it would
    /// lease the same delivery again.
    pub(in crate::core) fn take_old_prefetched(&mut self, now: Timestamp) -> Option<Prefetched> {
        let old = self.prefetched.pop_front_if(|prefetched| !prefetched.is_fresh(now))?;
        self.has_stalled = true;
        Some(old)
    }

    /// Takes the prefetched deliveries with these ids.
    pub(in crate::core) fn take_prefetched(&mut self, ids: &HashSet<DeliveryId>) -> VecDeque<Prefetched> {
        if !self.prefetched.iter().any(|prefetched| ids.contains(&prefetched.delivery())) {
            return VecDeque::new();
        }
        let all = std::mem::take(&mut self.prefetched);
        let (taken, others) = all.into_iter().partition(|prefetched| ids.contains(&prefetched.delivery()));
        self.prefetched = others;
        taken
    }

    /// True if a new delivery may be leased at its commit and prefetched.
    pub(in crate::core) fn takes_new_prefetched(
        &self,
        webhook: &Webhook,
        bytes: usize,
        now: Timestamp,
    ) -> bool {
        self.is_free_for_new(webhook, now)
            && bytes <= PREFETCH_BYTES_MAX
            && self.prefetched_or_promised() < self.prefetch_max()
    }

    /// True if a prefetched delivery may be attempted now. Its copy of the webhook dates from the lease, so the lane must not
    /// have unread edits.
    pub(in crate::core) fn may_attempt_prefetched(&mut self, now: Timestamp) -> bool {
        self.is_known && self.may_attempt(now)
    }

    /// The maximum number of prefetched deliveries now.
    pub(in crate::core) fn prefetch_max(&self) -> u32 {
        if !self.goes_freely() || self.tier != Tier::Quick || self.has_stalled {
            return 0;
        }
        let response_time = self.response_time.max(Duration::from_millis(1));
        let rounds = PREFETCH_TIME.div_duration_f64(response_time);
        let prefetch = f64::from(self.in_flight_max()) * rounds;
        // A float that is too large becomes the largest number.
        (prefetch as u32).min(self.prefetch_limit)
    }

    /// The number of prefetched deliveries and reserved places.
    fn prefetched_or_promised(&self) -> u32 {
        u32::try_from(self.prefetched.len()).unwrap_or(u32::MAX).saturating_add(self.promised)
    }

    /// The number of deliveries to prefetch next. Zero while more than half are left, so that each request is worth its cost.
    pub(super) fn wanted_prefetch(&self) -> u32 {
        let (kept, max) = (self.prefetched_or_promised(), self.prefetch_max());
        if self.has_large || kept > max / 2 { 0 } else { max - kept }
    }

    /// Learns the size of the largest delivery that was leased last.
    pub(in crate::core) fn learn_bytes(&mut self, bytes_max: usize) {
        self.has_large = bytes_max > PREFETCH_BYTES_MAX;
    }

    /// Reserves so many prefetch places.
    pub(in crate::core) fn promise(&mut self, prefetch: usize) {
        self.promised = self.promised.saturating_add(u32::try_from(prefetch).unwrap_or(u32::MAX));
    }

    /// Ends the reservation of so many places: their deliveries have come, or will not come.
    pub(in crate::core) fn keep_promise(&mut self, prefetch: usize) {
        // The reservation may be of an earlier lane of this webhook, which was dropped.
        self.promised = self.promised.saturating_sub(u32::try_from(prefetch).unwrap_or(u32::MAX));
    }

    pub(super) fn is_free_for_new(&self, webhook: &Webhook, now: Timestamp) -> bool {
        self.goes_freely()
            && Rate::of(webhook).is_none()
            && !self.is_leasing
            && self.next_due.is_none_or(|due| due > now)
    }

    /// True if only the limit of attempts in flight slows the lane down.
    fn goes_freely(&self) -> bool {
        self.hold == Hold::None
            && self.is_known
            && self.pacer.is_none()
            && self.breaker.is_closed()
            && self.catching_up.is_none()
    }
}
