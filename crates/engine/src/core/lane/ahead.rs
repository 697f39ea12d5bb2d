//! How much a lane may have ahead: what its endpoint takes in [`AHEAD_TIME`].

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::webhook::Webhook;

use super::{Hold, Lane};
use crate::core::ahead::AHEAD_BYTES_MAX;
use crate::core::pacer::Rate;
use crate::core::permits::Pace;

/// A lane leases ahead what its endpoint takes in this time.
pub(in crate::core) const AHEAD_TIME: Duration = Duration::from_millis(250);

impl Lane {
    /// Whether a new delivery may be born leased and kept ahead.
    pub(in crate::core) fn takes_new_ahead(&self, webhook: &Webhook, bytes: usize, now: Timestamp) -> bool {
        self.is_free_for_new(webhook, now) && bytes <= AHEAD_BYTES_MAX && self.kept_ahead() < self.ahead_max()
    }

    /// Whether it may attempt what is ahead, which knows its webhook as it was.
    pub(in crate::core) fn may_attempt_ahead(&mut self, now: Timestamp) -> bool {
        self.is_known && self.may_attempt(now)
    }

    /// How much it may have ahead now: what its endpoint takes in [`AHEAD_TIME`].
    pub(in crate::core) fn ahead_max(&self) -> u32 {
        if !self.goes_freely() || self.pace != Pace::Quick || self.has_stalled {
            return 0;
        }
        let answers_in = self.answers_in.max(Duration::from_millis(1));
        let rounds = AHEAD_TIME.div_duration_f64(answers_in);
        let ahead = f64::from(self.in_flight_max()) * rounds;
        // A float that is too large becomes the largest number.
        (ahead as u32).min(self.ahead_limit)
    }

    /// What it has ahead or is promised.
    fn kept_ahead(&self) -> u32 {
        u32::try_from(self.ahead.len()).unwrap_or(u32::MAX).saturating_add(self.promised)
    }

    /// How many to lease ahead: none as long as half of it is there, so that each request is worth its cost.
    pub(super) fn wanted_ahead(&self) -> u32 {
        let (kept, max) = (self.kept_ahead(), self.ahead_max());
        if self.has_large || kept > max / 2 { 0 } else { max - kept }
    }

    /// What it had ahead grew old: it has nothing ahead until an answer has come, else it would lease the same again.
    pub(in crate::core) fn stalls(&mut self) {
        self.has_stalled = true;
    }

    /// What was leased last had so many bytes at the most in one delivery.
    pub(in crate::core) fn learn_bytes(&mut self, bytes_max: usize) {
        self.has_large = bytes_max > AHEAD_BYTES_MAX;
    }

    /// So many places ahead are promised.
    pub(in crate::core) fn promise(&mut self, ahead: usize) {
        self.promised = self.promised.saturating_add(u32::try_from(ahead).unwrap_or(u32::MAX));
    }

    /// It is known what became of so many promised places.
    pub(in crate::core) fn keep_promise(&mut self, ahead: usize) {
        // A lane that was dropped meanwhile, with its webhook, has begun anew.
        self.promised = self.promised.saturating_sub(u32::try_from(ahead).unwrap_or(u32::MAX));
    }

    pub(super) fn is_free_for_new(&self, webhook: &Webhook, now: Timestamp) -> bool {
        self.goes_freely()
            && Rate::of(webhook).is_none()
            && !self.is_leasing
            && self.next_due.is_none_or(|due| due > now)
    }

    /// Whether nothing slows it down but its limit.
    fn goes_freely(&self) -> bool {
        self.hold == Hold::None
            && self.is_known
            && self.pacer.is_none()
            && self.breaker.is_closed()
            && self.catching_up.is_none()
    }
}
