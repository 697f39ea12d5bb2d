//! Whose turn it is: round robin over organizations, then over their lanes.
//!
//! One ring for quick lanes and one for the others, so that a thousand lanes that may not go
//! are never looked through to find the one that may.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use stackbell_model::ids::{OrganizationId, WebhookId};

use super::permits::Pace;

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

    /// Takes the next lane of the next organization, which goes to the end of the ring if it has more.
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

    /// Takes a lane out, wherever it stands.
    fn remove(&mut self, organization: OrganizationId, lane: WebhookId) {
        let Some(lanes) = self.lanes.get_mut(&organization) else { return };
        lanes.retain(|other| *other != lane);
        if lanes.is_empty() {
            self.lanes.remove(&organization);
            self.organizations.retain(|other| *other != organization);
        }
    }

    /// Puts a lane back to where it was taken from, its organization to the ring's end.
    fn put_back(&mut self, organization: OrganizationId, lane: WebhookId) {
        let lanes = self.lanes.entry(organization).or_default();
        if lanes.is_empty() {
            self.organizations.push_back(organization);
        }
        lanes.push_front(lane);
    }
}

/// The lanes that could go now. A lane is in it once.
#[derive(Debug, Default)]
pub(super) struct Ring {
    quick: Turns,
    unproven: Turns,
    members: HashMap<WebhookId, Pace>,
}

impl Ring {
    fn turns(&mut self, pace: Pace) -> &mut Turns {
        match pace {
            Pace::Quick => &mut self.quick,
            Pace::Unproven => &mut self.unproven,
        }
    }

    /// Adds a lane at the end. One that is in it already keeps its place, unless its pace is another by now: what has proven
    /// quick must not wait for what has not.
    pub(super) fn push(&mut self, organization: OrganizationId, lane: WebhookId, pace: Pace) {
        match self.members.insert(lane, pace) {
            Some(before) if before == pace => return,
            Some(before) => self.turns(before).remove(organization, lane),
            None => {}
        }
        self.turns(pace).push(organization, lane);
    }

    pub(super) fn pop(&mut self, pace: Pace) -> Option<(OrganizationId, WebhookId)> {
        let (organization, lane) = self.turns(pace).pop()?;
        self.members.remove(&lane);
        Some((organization, lane))
    }

    pub(super) fn put_back(&mut self, organization: OrganizationId, lane: WebhookId, pace: Pace) {
        if let Entry::Vacant(vacant) = self.members.entry(lane) {
            vacant.insert(pace);
            self.turns(pace).put_back(organization, lane);
        }
    }

    /// How many organizations wait in the ring of this pace.
    pub(super) fn organizations(&self, pace: Pace) -> usize {
        match pace {
            Pace::Quick => self.quick.organizations.len(),
            Pace::Unproven => self.unproven.organizations.len(),
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
        let mut ring = Ring::default();
        for n in 0..3 {
            ring.push(organization(1), lane(10 + n), Pace::Quick);
        }
        ring.push(organization(2), lane(20), Pace::Quick);
        let order: Vec<_> = std::iter::from_fn(|| ring.pop(Pace::Quick)).map(|(_, lane)| lane).collect();
        assert_eq!(order, [lane(10), lane(20), lane(11), lane(12)]);
        assert_eq!(ring.pop(Pace::Unproven), None);
    }

    #[test]
    fn who_has_proven_quick_changes_over() {
        let organization = OrganizationId::from_uuid(Uuid::from_u128(1));
        let lane = |n| WebhookId::from_uuid(Uuid::from_u128(n));
        let mut ring = Ring::default();
        for (n, pace) in [(1, Pace::Unproven), (2, Pace::Unproven), (1, Pace::Quick), (1, Pace::Quick)] {
            ring.push(organization, lane(n), pace);
        }
        assert_eq!(ring.pop(Pace::Quick), Some((organization, lane(1))));
        assert_eq!(ring.pop(Pace::Quick), None);
        ring.push(organization, lane(2), Pace::Quick);
        assert_eq!(ring.organizations(Pace::Unproven), 0);
        assert_eq!(ring.pop(Pace::Unproven), None);
        assert_eq!(ring.pop(Pace::Quick), Some((organization, lane(2))));
    }
}
