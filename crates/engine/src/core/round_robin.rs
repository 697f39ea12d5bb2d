//! Round robin over organizations, then over their lanes.
//!
//! Quick lanes and unproven lanes have separate queues, so that a search for a lane with a permit does not pass a thousand
//! lanes without one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use stackbell_model::ids::{OrganizationId, WebhookId};

use super::permits::Tier;

#[derive(Debug, Default)]
struct Turns {
    organizations: VecDeque<OrganizationId>,
    lanes: HashMap<OrganizationId, VecDeque<WebhookId>>,
}

impl Turns {
    fn push(&mut self, organization: OrganizationId, lane: WebhookId) {
        let lanes = self.lanes.entry(organization).or_default();
        if lanes.is_empty() {
            self.organizations.push_back(organization);
        }
        lanes.push_back(lane);
    }

    /// Takes the next lane of the next organization. The organization goes to the end if it has more lanes.
    fn pop(&mut self) -> Option<(OrganizationId, WebhookId)> {
        let organization = self.organizations.pop_front()?;
        let lanes = self.lanes.get_mut(&organization)?;
        let lane = lanes.pop_front()?;
        if lanes.is_empty() {
            self.lanes.remove(&organization);
        } else {
            self.organizations.push_back(organization);
        }
        Some((organization, lane))
    }

    /// Removes a lane from any place in the queue.
    fn remove(&mut self, organization: OrganizationId, lane: WebhookId) {
        let Some(lanes) = self.lanes.get_mut(&organization) else { return };
        lanes.retain(|other| *other != lane);
        if lanes.is_empty() {
            self.lanes.remove(&organization);
            self.organizations.retain(|other| *other != organization);
        }
    }

    /// Puts a lane back to the front of its organization, and the organization to the end.
    fn put_back(&mut self, organization: OrganizationId, lane: WebhookId) {
        let lanes = self.lanes.entry(organization).or_default();
        if lanes.is_empty() {
            self.organizations.push_back(organization);
        }
        lanes.push_front(lane);
    }
}

/// The queued lanes of both tiers. Each lane is queued at most once.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    quick: Turns,
    unproven: Turns,
    members: HashMap<WebhookId, Tier>,
}

impl RoundRobin {
    fn turns(&mut self, tier: Tier) -> &mut Turns {
        match tier {
            Tier::Quick => &mut self.quick,
            Tier::Unproven => &mut self.unproven,
        }
    }

    /// Adds a lane at the end. A queued lane keeps its place, unless its tier has changed: a lane that has proven quick must
    /// not wait for unproven lanes.
    pub(super) fn push(&mut self, organization: OrganizationId, lane: WebhookId, tier: Tier) {
        match self.members.insert(lane, tier) {
            Some(before) if before == tier => return,
            Some(before) => self.turns(before).remove(organization, lane),
            None => {}
        }
        self.turns(tier).push(organization, lane);
    }

    pub(super) fn pop(&mut self, tier: Tier) -> Option<(OrganizationId, WebhookId)> {
        let (organization, lane) = self.turns(tier).pop()?;
        self.members.remove(&lane);
        Some((organization, lane))
    }

    pub(super) fn put_back(&mut self, organization: OrganizationId, lane: WebhookId, tier: Tier) {
        if let Entry::Vacant(vacant) = self.members.entry(lane) {
            vacant.insert(tier);
            self.turns(tier).put_back(organization, lane);
        }
    }

    /// How many organizations have lanes of this tier queued.
    pub(super) fn organizations(&self, tier: Tier) -> usize {
        match tier {
            Tier::Quick => self.quick.organizations.len(),
            Tier::Unproven => self.unproven.organizations.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn organizations_take_turns() {
        let organization = |n| OrganizationId::from_uuid(Uuid::from_u128(n));
        let lane = |n| WebhookId::from_uuid(Uuid::from_u128(n));
        let mut turns = RoundRobin::default();
        for n in 0..3 {
            turns.push(organization(1), lane(10 + n), Tier::Quick);
        }
        turns.push(organization(2), lane(20), Tier::Quick);
        let order: Vec<_> = std::iter::from_fn(|| turns.pop(Tier::Quick)).map(|(_, lane)| lane).collect();
        assert_eq!(order, [lane(10), lane(20), lane(11), lane(12)]);
        assert_eq!(turns.pop(Tier::Unproven), None);
    }

    #[test]
    fn a_lane_that_has_proven_quick_changes_its_tier() {
        let organization = OrganizationId::from_uuid(Uuid::from_u128(1));
        let lane = |n| WebhookId::from_uuid(Uuid::from_u128(n));
        let mut turns = RoundRobin::default();
        for (n, tier) in [(1, Tier::Unproven), (2, Tier::Unproven), (1, Tier::Quick), (1, Tier::Quick)] {
            turns.push(organization, lane(n), tier);
        }
        assert_eq!(turns.pop(Tier::Quick), Some((organization, lane(1))));
        assert_eq!(turns.pop(Tier::Quick), None);
        turns.push(organization, lane(2), Tier::Quick);
        assert_eq!(turns.organizations(Tier::Unproven), 0);
        assert_eq!(turns.pop(Tier::Unproven), None);
        assert_eq!(turns.pop(Tier::Quick), Some((organization, lane(2))));
    }
}
