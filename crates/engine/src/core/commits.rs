//! Commits under way, and the backoff after one that failed.

mod gathering;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::ids::DeliveryId;
use stackbell_store::commit::{Batch, IntakeItem, Lease, NewDelivery};

use super::backoff::{Backoff, Recording};
use super::config::CoreConfig;
use super::intake_queue::Producer;
use super::messages::{Command, CommitFault, CommitNumber};
use super::outcomes::RecordNote;
use super::preleased::Reserved;
pub(super) use gathering::Gathering;

/// A commit under way.
#[derive(Debug)]
pub(super) struct CommitInFlight {
    batch: Arc<Batch>,
    /// One for each item of the batch, in its order.
    producers: Vec<Producer>,
    reservations: Reservations,
    /// One for each outcome of the batch, in its order.
    notes: Vec<RecordNote>,
}

impl CommitInFlight {
    pub(super) fn into_parts(self) -> (Arc<Batch>, Vec<Producer>, Reservations, Vec<RecordNote>) {
        (self.batch, self.producers, self.reservations, self.notes)
    }
}

/// The reservations of the leased deliveries of a batch.
#[derive(Debug)]
pub(super) struct Reservations {
    /// One for each leased delivery, in the order of the batch.
    reserved: VecDeque<Reserved>,
    /// Deliveries of the batch that were redelivered before this node heard that the batch is committed.
    redelivered: Vec<DeliveryId>,
}

impl Reservations {
    /// Takes the reservation of the next delivery, if it is leased.
    pub(super) fn take(&mut self, delivery: &NewDelivery) -> Option<(Lease, Reserved)> {
        delivery.lease.and_then(|lease| Some((lease, self.reserved.pop_front()?)))
    }

    /// Takes the reservations of the next item.
    pub(super) fn take_of(&mut self, item: &IntakeItem) -> impl Iterator<Item = Reserved> {
        let leased =
            item.events.iter().flat_map(|new| &new.deliveries).filter(|new| new.lease.is_some()).count();
        self.reserved.drain(..leased.min(self.reserved.len()))
    }

    /// Takes all that are left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Reserved> {
        self.reserved.drain(..)
    }

    pub(super) fn was_redelivered(&self, delivery: DeliveryId) -> bool {
        self.redelivered.contains(&delivery)
    }
}

/// All commits under way.
#[derive(Debug)]
pub(super) struct Commits {
    in_flight: HashMap<CommitNumber, CommitInFlight>,
    /// The number of the last commit.
    last: u64,
    /// The number of commits that have one part only. A commit met a row that cannot be read; this finds out which part it is.
    isolate: usize,
    backoff: Backoff,
    in_flight_max: usize,
    beside_min: usize,
}

impl Commits {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            in_flight: HashMap::new(),
            last: 0,
            isolate: 0,
            backoff: Backoff::default(),
            in_flight_max: config.commits_in_flight_max,
            beside_min: config.batch_beside_min,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// True if a commit may begin, with so many parts waiting. A commit beside another needs many parts to be worth its cost:
    /// the next batch soon takes a few.
    pub(super) fn may_begin(&self, waiting: usize, now: Timestamp) -> bool {
        let least = if self.in_flight.is_empty() { 0 } else { self.beside_min };
        self.in_flight.len() < self.in_flight_max && waiting >= least && self.fault(now).is_none()
    }

    /// True if the next commit has one part only. Counts it.
    pub(super) fn take_isolated(&mut self) -> bool {
        let is_isolated = self.isolate > 0;
        self.isolate = self.isolate.saturating_sub(1);
        is_isolated
    }

    /// The next so many commits have one part only.
    pub(super) fn isolate(&mut self, parts: usize) {
        self.isolate = parts;
    }

    /// A commit begins, unless there is nothing to commit.
    pub(super) fn begin(&mut self, gathering: Gathering) -> Option<Command> {
        let Some(commit) = gathering.into_commit() else {
            self.isolate = 0;
            return None;
        };
        self.last += 1;
        let number = CommitNumber(self.last);
        let command = Command::Commit { number, batch: Arc::clone(&commit.batch) };
        self.in_flight.insert(number, commit);
        Some(command)
    }

    /// A commit has ended.
    pub(super) fn end(&mut self, number: CommitNumber) -> Option<CommitInFlight> {
        self.in_flight.remove(&number)
    }

    /// A redelivery is recorded. Its delivery may be part of a commit that this node has not heard of yet.
    pub(super) fn note_redelivery(&mut self, delivery: DeliveryId) {
        for commit in self.in_flight.values_mut() {
            let events = commit.batch.intakes.iter().flat_map(|item| &item.events);
            if events.flat_map(|new| &new.deliveries).any(|new| new.id == delivery) {
                commit.reservations.redelivered.push(delivery);
            }
        }
    }

    /// A commit succeeded.
    pub(super) fn succeeded(&mut self) {
        self.backoff = Backoff::default();
    }

    /// A commit failed, because of the store.
    pub(super) fn failed(&mut self, fault: CommitFault, now: Timestamp) {
        self.backoff.fail(now, fault);
    }

    /// The fault for which no commit begins now.
    pub(super) fn fault(&self, now: Timestamp) -> Option<CommitFault> {
        self.backoff.holds(now)
    }

    /// True if outcomes can be recorded. `is_trying` is true if there is something to commit, or will be soon.
    pub(super) fn recording(&self, is_trying: bool, now: Timestamp) -> Recording {
        self.backoff.recording(now, is_trying)
    }

    /// When the next commit may begin after one that failed.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.backoff.until().filter(|until| *until > now)
    }
}
