//! Caps: how many attempts may be in flight, in all and for each organization.
//!
//! Half of each cap is for lanes that have proven quick, so that slow and unknown endpoints, however many, leave room
//! for the others; an eighth is for those others, so that quick ones, however busy, do not keep them out (invariant 5).
//! And however many of them become ready at once, they begin a few at a time ([`Starts`]).

use std::collections::HashMap;

use stackbell_model::Timestamp;
use stackbell_model::ids::OrganizationId;

use super::starts::Starts;

/// What is known of a lane's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Its last answer came quickly, and was no long one.
    Quick,
    /// It was slow, long or missing, or it was never asked.
    Unproven,
}

/// The right to one attempt. Give it back with [`Permits::release`], or with [`Permits::release_unspent`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Permit {
    organization: OrganizationId,
    pace: Pace,
    /// Whether it was counted among the [`Starts`].
    spends_start: bool,
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
    /// How quickly attempts of unproven lanes begin, where they are paced.
    starts: Option<Starts>,
}

impl Permits {
    pub(super) fn new(node_max: u32, organization_max: u32) -> Self {
        Self {
            node_max,
            organization_max,
            node: Used::default(),
            organizations: HashMap::new(),
            starts: None,
        }
    }

    /// The same, where attempts of unproven lanes begin no quicker than `starts` says.
    pub(super) fn with_starts(self, starts: Starts) -> Self {
        Self { starts: Some(starts), ..self }
    }

    /// Tells the time, before anything is asked.
    pub(super) fn tell(&mut self, now: Timestamp) {
        if let Some(starts) = &mut self.starts {
            starts.tell(now);
        }
    }

    /// Whether the node has room for one more of this pace, of some organization.
    pub(super) fn node_has_room(&self, pace: Pace) -> bool {
        self.node.has_room(self.node_max, pace) && self.starts_of(pace).is_none_or(Starts::may_begin)
    }

    /// When unproven lanes may go on, where there is room for them, and too many have begun just now.
    pub(super) fn unproven_rested_at(&self) -> Option<Timestamp> {
        let starts = self.starts_of(Pace::Unproven).filter(|starts| !starts.may_begin())?;
        self.node.has_room(self.node_max, Pace::Unproven).then(|| starts.rested_at())
    }

    /// For an attempt that the queue makes.
    pub(super) fn acquire(&mut self, organization: OrganizationId, pace: Pace) -> Option<Permit> {
        if !self.starts_of(pace).is_none_or(Starts::may_begin) {
            return None;
        }
        let permit = self.acquire_for_ask(organization, pace)?;
        match &mut self.starts {
            Some(starts) if pace == Pace::Unproven => {
                starts.take();
                Some(Permit { spends_start: true, ..permit })
            }
            Some(_) | None => Some(permit),
        }
    }

    /// For an attempt that somebody asked for, who waits.
    pub(super) fn acquire_for_ask(&mut self, organization: OrganizationId, pace: Pace) -> Option<Permit> {
        let used = self.organizations.entry(organization).or_default();
        if !self.node.has_room(self.node_max, pace) || !used.has_room(self.organization_max, pace) {
            return None;
        }
        used.add(pace);
        self.node.add(pace);
        Some(Permit { organization, pace, spends_start: false })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a permit that was given back must be gone")]
    pub(super) fn release(&mut self, permit: Permit) {
        let Permit { organization, pace, .. } = permit;
        self.node.remove(pace);
        if let Some(used) = self.organizations.get_mut(&organization) {
            used.remove(pace);
            if used.all == 0 {
                self.organizations.remove(&organization);
            }
        }
    }

    /// Gives back one that came to no attempt, or to one that cost others nothing: another may begin in its stead.
    pub(super) fn release_unspent(&mut self, permit: Permit) {
        if let Some(starts) = &mut self.starts
            && permit.spends_start
        {
            starts.give_back();
        }
        self.release(permit);
    }

    /// What attempts of this pace are counted among.
    fn starts_of(&self, pace: Pace) -> Option<&Starts> {
        self.starts.as_ref().filter(|_| pace == Pace::Unproven)
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
