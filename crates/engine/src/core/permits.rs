//! Caps on attempts in flight, for the node and for each organization.
//!
//! Half of each cap is reserved for quick lanes, so that slow and unknown endpoints leave room for them. An eighth is
//! reserved for unproven lanes, so that busy quick lanes do not keep them out (invariant 5).
//! Unproven lanes that become ready together begin a few at a time ([`SlowStart`]).

use std::collections::HashMap;

use stackbell_model::Timestamp;
use stackbell_model::ids::OrganizationId;

use super::slow_start::SlowStart;

/// How fast a lane's endpoint is known to respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// Its last response was fast and short.
    Quick,
    /// Its last response was slow, long or missing, or it has had no request yet.
    Unproven,
}

/// The right to one attempt. Give it back with [`Permits::release`], or with [`Permits::release_unspent`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Permit {
    organization: OrganizationId,
    tier: Tier,
    /// True if [`SlowStart`] has counted the attempt.
    counts_in_slow_start: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    all: u32,
    unproven: u32,
}

impl Used {
    fn has_room(self, max: u32, tier: Tier) -> bool {
        let room = self.all < max;
        match tier {
            Tier::Quick => room && self.all - self.unproven < max - max / 8,
            Tier::Unproven => room && self.unproven < max.div_ceil(2),
        }
    }

    fn add(&mut self, tier: Tier) {
        self.all += 1;
        self.unproven += u32::from(tier == Tier::Unproven);
    }

    fn remove(&mut self, tier: Tier) {
        self.all -= 1;
        self.unproven -= u32::from(tier == Tier::Unproven);
    }
}

#[derive(Debug)]
pub(super) struct Permits {
    node_max: u32,
    organization_max: u32,
    node: Used,
    organizations: HashMap<OrganizationId, Used>,
    /// The rate at which attempts of unproven lanes begin, if it is limited.
    slow_start: Option<SlowStart>,
}

impl Permits {
    pub(super) fn new(node_max: u32, organization_max: u32) -> Self {
        Self {
            node_max,
            organization_max,
            node: Used::default(),
            organizations: HashMap::new(),
            slow_start: None,
        }
    }

    /// Permits whose attempts of unproven lanes begin no faster than `slow_start` allows.
    pub(super) fn with_slow_start(self, slow_start: SlowStart) -> Self {
        Self { slow_start: Some(slow_start), ..self }
    }

    /// Sets the current time. Call it before any question.
    pub(super) fn tell(&mut self, now: Timestamp) {
        if let Some(slow_start) = &mut self.slow_start {
            slow_start.tell(now);
        }
    }

    /// True if the node has room for one more attempt of this tier.
    pub(super) fn node_has_room(&self, tier: Tier) -> bool {
        self.node.has_room(self.node_max, tier) && self.slow_start_of(tier).is_none_or(SlowStart::may_begin)
    }

    /// When slow start lets the next attempts of unproven lanes begin; `None` if slow start does not delay them.
    pub(super) fn unproven_rested_at(&self) -> Option<Timestamp> {
        let slow_start = self.slow_start_of(Tier::Unproven).filter(|slow_start| !slow_start.may_begin())?;
        self.node.has_room(self.node_max, Tier::Unproven).then(|| slow_start.rested_at())
    }

    /// Acquires a permit for an attempt of a queued delivery.
    pub(super) fn acquire(&mut self, organization: OrganizationId, tier: Tier) -> Option<Permit> {
        if !self.slow_start_of(tier).is_none_or(SlowStart::may_begin) {
            return None;
        }
        let permit = self.acquire_on_demand(organization, tier)?;
        match &mut self.slow_start {
            Some(slow_start) if tier == Tier::Unproven => {
                slow_start.take();
                Some(Permit { counts_in_slow_start: true, ..permit })
            }
            Some(_) | None => Some(permit),
        }
    }

    /// Acquires a permit for a ping or a redelivery, without slow start because the caller waits.
    pub(super) fn acquire_on_demand(&mut self, organization: OrganizationId, tier: Tier) -> Option<Permit> {
        let used = self.organizations.entry(organization).or_default();
        if !self.node.has_room(self.node_max, tier) || !used.has_room(self.organization_max, tier) {
            return None;
        }
        used.add(tier);
        self.node.add(tier);
        Some(Permit { organization, tier, counts_in_slow_start: false })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a permit that was given back must be gone")]
    pub(super) fn release(&mut self, permit: Permit) {
        let Permit { organization, tier, .. } = permit;
        self.node.remove(tier);
        if let Some(used) = self.organizations.get_mut(&organization) {
            used.remove(tier);
            if used.all == 0 {
                self.organizations.remove(&organization);
            }
        }
    }

    /// Releases a permit whose attempt was not made, or cost other endpoints nothing. Slow start lets another attempt begin.
    pub(super) fn release_unspent(&mut self, permit: Permit) {
        if let Some(slow_start) = &mut self.slow_start
            && permit.counts_in_slow_start
        {
            slow_start.give_back();
        }
        self.release(permit);
    }

    /// The slow start that counts attempts of this tier.
    fn slow_start_of(&self, tier: Tier) -> Option<&SlowStart> {
        self.slow_start.as_ref().filter(|_| tier == Tier::Unproven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stackbell_model::ids::OrganizationId;

    fn organization(n: u128) -> OrganizationId {
        OrganizationId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn half_is_kept_for_the_quick() {
        let mut permits = Permits::new(8, 4);
        let a = organization(1);
        let slow: Vec<_> = std::iter::from_fn(|| permits.acquire(a, Tier::Unproven)).collect();
        assert_eq!(slow.len(), 2);
        let quick: Vec<_> = std::iter::from_fn(|| permits.acquire(a, Tier::Quick)).collect();
        assert_eq!(quick.len(), 2);
        for n in 2..4 {
            while permits.acquire(organization(n), Tier::Unproven).is_some() {}
        }
        assert!(!permits.node_has_room(Tier::Unproven));
        assert!(permits.node_has_room(Tier::Quick));
        for permit in slow.into_iter().chain(quick) {
            permits.release(permit);
        }
        assert!(permits.acquire(a, Tier::Unproven).is_some());
    }
}
