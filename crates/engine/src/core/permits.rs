//! Caps: how many attempts may be in flight, in all and for each organization.
//!
//! Half of each cap is for lanes that have proven quick, so that slow and unknown endpoints, however many, leave room
//! for the others; an eighth is for those others, so that quick ones, however busy, do not keep them out (invariant 5).

use std::collections::HashMap;

use stackbell_model::ids::OrganizationId;

/// What is known of a lane's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Its last answer came quickly.
    Quick,
    /// It was slow, silent, or never asked.
    Unproven,
}

/// The right to one attempt. Give it back with [`Permits::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Permit {
    organization: OrganizationId,
    pace: Pace,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    all: u32,
    unproven: u32,
}

impl Used {
    fn has_room(self, max: u32, pace: Pace) -> bool {
        let room = self.all < max;
        match pace {
            Pace::Quick => room && self.all - self.unproven < max - max / 8,
            Pace::Unproven => room && self.unproven < max.div_ceil(2),
        }
    }

    fn add(&mut self, pace: Pace) {
        self.all += 1;
        self.unproven += u32::from(pace == Pace::Unproven);
    }

    fn remove(&mut self, pace: Pace) {
        self.all -= 1;
        self.unproven -= u32::from(pace == Pace::Unproven);
    }
}

#[derive(Debug)]
pub(super) struct Permits {
    node_max: u32,
    organization_max: u32,
    node: Used,
    organizations: HashMap<OrganizationId, Used>,
}

impl Permits {
    pub(super) fn new(node_max: u32, organization_max: u32) -> Self {
        Self { node_max, organization_max, node: Used::default(), organizations: HashMap::new() }
    }

    /// Whether the node has room for one more of this pace, of some organization.
    pub(super) fn node_has_room(&self, pace: Pace) -> bool {
        self.node.has_room(self.node_max, pace)
    }

    pub(super) fn acquire(&mut self, organization: OrganizationId, pace: Pace) -> Option<Permit> {
        let used = self.organizations.entry(organization).or_default();
        if !self.node.has_room(self.node_max, pace) || !used.has_room(self.organization_max, pace) {
            return None;
        }
        used.add(pace);
        self.node.add(pace);
        Some(Permit { organization, pace })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a permit that was given back must be gone")]
    pub(super) fn release(&mut self, permit: Permit) {
        let Permit { organization, pace } = permit;
        self.node.remove(pace);
        if let Some(used) = self.organizations.get_mut(&organization) {
            used.remove(pace);
            if used.all == 0 {
                self.organizations.remove(&organization);
            }
        }
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
        let slow: Vec<_> = std::iter::from_fn(|| permits.acquire(a, Pace::Unproven)).collect();
        assert_eq!(slow.len(), 2);
        let quick: Vec<_> = std::iter::from_fn(|| permits.acquire(a, Pace::Quick)).collect();
        assert_eq!(quick.len(), 2);
        for n in 2..4 {
            while permits.acquire(organization(n), Pace::Unproven).is_some() {}
        }
        assert!(!permits.node_has_room(Pace::Unproven));
        assert!(permits.node_has_room(Pace::Quick));
        for permit in slow.into_iter().chain(quick) {
            permits.release(permit);
        }
        assert!(permits.acquire(a, Pace::Unproven).is_some());
    }
}
