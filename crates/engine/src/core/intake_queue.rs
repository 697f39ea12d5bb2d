//! The queue of items that wait for a commit, in round robin over organizations.

use std::collections::{HashMap, VecDeque};

use stackbell_model::event::Event;
use stackbell_model::ids::OrganizationId;
use stackbell_store::commit::ItemChange;

use super::messages::{Authority, Command, PublishRefusal, PublishTicket};

/// The producer that waits for an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Producer {
    pub(super) ticket: PublishTicket,
    pub(super) authority: Authority,
}

impl Producer {
    pub(super) fn refuse(self, refusal: PublishRefusal) -> Command {
        Command::RespondPublish { ticket: self.ticket, response: Err(refusal) }
    }
}

/// Events and a change that a producer wants accepted together.
#[derive(Clone, Debug)]
pub(super) struct PendingIntake {
    pub(super) producer: Producer,
    pub(super) organization: OrganizationId,
    pub(super) change: Option<Box<ItemChange>>,
    pub(super) events: Vec<Event>,
}

impl PendingIntake {
    /// The size of the item for limits: its events, and one for a change.
    pub(super) fn parts(&self) -> usize {
        parts(self.change.as_deref(), &self.events)
    }

    /// The bytes of its payloads.
    pub(super) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload.len()).sum()
    }
}

/// The size of an item for limits: the events, and one for a change.
pub(super) fn parts(change: Option<&ItemChange>, events: &[Event]) -> usize {
    events.len() + usize::from(change.is_some())
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<PendingIntake>,
    parts: usize,
    /// True if the queue is skipped in the round robin.
    is_paused: bool,
}

/// All items that wait.
#[derive(Debug, Default)]
pub(super) struct IntakeQueue {
    turns: VecDeque<OrganizationId>,
    queues: HashMap<OrganizationId, Queue>,
    parts: usize,
}

impl IntakeQueue {
    /// True if an item of so many parts may wait. An organization gets a quarter of `max`, or the size of its first publish.
    pub(super) fn has_room(&self, organization: OrganizationId, parts: usize, max: usize) -> bool {
        let own = self.queues.get(&organization).map_or(0, |queue| queue.parts);
        self.parts + parts <= max && (own == 0 || own + parts <= max / 4)
    }

    /// The size of all waiting items.
    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn push_back(&mut self, intake: PendingIntake) {
        self.queue_for(&intake).items.push_back(intake);
    }

    pub(super) fn push_front(&mut self, intake: PendingIntake) {
        self.queue_for(&intake).items.push_front(intake);
    }

    fn queue_for(&mut self, intake: &PendingIntake) -> &mut Queue {
        let queue = self.queues.entry(intake.organization).or_default();
        if queue.items.is_empty() && !queue.is_paused {
            self.turns.push_back(intake.organization);
        }
        self.parts += intake.parts();
        queue.parts += intake.parts();
        queue
    }

    /// Takes the next item of the next organization.
    pub(super) fn pop(&mut self) -> Option<PendingIntake> {
        let organization = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&organization)?;
        let intake = queue.items.pop_front()?;
        queue.parts -= intake.parts();
        self.parts -= intake.parts();
        if queue.items.is_empty() {
            self.queues.remove(&organization);
        } else {
            self.turns.push_back(organization);
        }
        Some(intake)
    }

    /// Puts back an item and pauses its organization until [`IntakeQueue::resume`].
    pub(super) fn pause(&mut self, intake: PendingIntake) {
        let organization = intake.organization;
        self.push_front(intake);
        self.turns.retain(|other| *other != organization);
        if let Some(queue) = self.queues.get_mut(&organization) {
            queue.is_paused = true;
        }
    }

    /// Ends the pause of an organization.
    pub(super) fn resume(&mut self, organization: OrganizationId) {
        if let Some(queue) = self.queues.get_mut(&organization).filter(|queue| queue.is_paused) {
            queue.is_paused = false;
            self.turns.push_back(organization);
        }
    }

    /// Takes all items of an organization.
    pub(super) fn drain(&mut self, organization: OrganizationId) -> VecDeque<PendingIntake> {
        self.turns.retain(|other| *other != organization);
        let Some(queue) = self.queues.remove(&organization) else { return VecDeque::new() };
        self.parts -= queue.parts;
        queue.items
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn intake(organization: u128, ticket: u64) -> PendingIntake {
        let organization = OrganizationId::from_uuid(Uuid::from_u128(organization));
        let producer = Producer { ticket: PublishTicket(ticket), authority: Authority::Own };
        PendingIntake { producer, organization, change: None, events: Vec::new() }
    }

    fn tickets(intakes: &mut IntakeQueue) -> Vec<u64> {
        std::iter::from_fn(|| intakes.pop()).map(|intake| intake.producer.ticket.0).collect()
    }

    #[test]
    fn organizations_take_turns() {
        let mut intakes = IntakeQueue::default();
        for (organization, ticket) in [(1, 10), (1, 11), (1, 12), (2, 20)] {
            intakes.push_back(intake(organization, ticket));
        }
        assert_eq!(tickets(&mut intakes), [10, 20, 11, 12]);
        assert!(intakes.is_empty());
    }

    #[test]
    fn a_paused_organization_does_not_hold_up_others() {
        let mut intakes = IntakeQueue::default();
        for (organization, ticket) in [(1, 10), (1, 11), (2, 20)] {
            intakes.push_back(intake(organization, ticket));
        }
        let first = intakes.pop().expect("the first");
        let paused = first.organization;
        intakes.pause(first);
        intakes.push_back(intake(1, 12));
        assert_eq!(tickets(&mut intakes), [20]);
        intakes.resume(paused);
        assert_eq!(tickets(&mut intakes), [10, 11, 12]);
    }
}
