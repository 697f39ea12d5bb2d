//! How many deliveries a lane may prefetch: as many as its endpoint takes in [`PREFETCH_TIME`].

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::webhook::Webhook;

use super::{Hold, Lane};
use crate::core::pacer::Rate;
use crate::core::permits::Tier;
use crate::core::prefetch::PREFETCH_BYTES_MAX;

/// A lane prefetches as many deliveries as its endpoint takes in this time.
pub(in crate::core) const PREFETCH_TIME: Duration = Duration::from_millis(250);

impl Lane {
    /// Whether a new delivery may be leased at its commit and prefetched.
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

    /// Whether it may attempt a prefetched delivery, which carries its webhook as of the lease.
    pub(in crate::core) fn may_attempt_prefetched(&mut self, now: Timestamp) -> bool {
        self.is_known && self.may_attempt(now)
    }

    /// How many deliveries it may prefetch now.
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

    /// Prefetched deliveries and promised places.
    fn prefetched_or_promised(&self) -> u32 {
        u32::try_from(self.prefetched.len()).unwrap_or(u32::MAX).saturating_add(self.promised)
    }

    /// How many more to prefetch: none while half of them are left, so that each request is worth its cost.
    pub(super) fn wanted_prefetch(&self) -> u32 {
        let (kept, max) = (self.prefetched_or_promised(), self.prefetch_max());
        if self.has_large || kept > max / 2 { 0 } else { max - kept }
    }

    /// Its prefetched deliveries grew old. It prefetches nothing until a response has come, or it would lease the same again.
    pub(in crate::core) fn stalls(&mut self) {
        self.has_stalled = true;
    }

    /// Learns the size of the largest delivery that was leased last.
    pub(in crate::core) fn learn_bytes(&mut self, bytes_max: usize) {
        self.has_large = bytes_max > PREFETCH_BYTES_MAX;
    }

    /// Promises so many prefetch places.
    pub(in crate::core) fn promise(&mut self, prefetch: usize) {
        self.promised = self.promised.saturating_add(u32::try_from(prefetch).unwrap_or(u32::MAX));
    }

    /// Ends the promise of so many places: their deliveries are here, or will not come.
    pub(in crate::core) fn keep_promise(&mut self, prefetch: usize) {
        // A lane that was dropped meanwhile, with its webhook, has started from zero.
        self.promised = self.promised.saturating_sub(u32::try_from(prefetch).unwrap_or(u32::MAX));
    }

    pub(super) fn is_free_for_new(&self, webhook: &Webhook, now: Timestamp) -> bool {
        self.goes_freely()
            && Rate::of(webhook).is_none()
            && !self.is_leasing
            && self.next_due.is_none_or(|due| due > now)
    }

    /// Whether its limit alone slows it down.
    fn goes_freely(&self) -> bool {
        self.hold == Hold::None
            && self.is_known
            && self.pacer.is_none()
            && self.breaker.is_closed()
            && self.catching_up.is_none()
    }
}
