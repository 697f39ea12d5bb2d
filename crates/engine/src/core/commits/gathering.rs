//! A batch that is being put together.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::ids::BatchId;
use stackbell_store::commit::{AttemptRecord, Batch, IntakeItem, Lease, NewEvent};

use super::{CommitInFlight, CoreConfig, Producer, RecordNote, Reservations, Reserved};

/// A batch that is being put together.
pub(in crate::core) struct Gathering {
    /// The lease of all deliveries that are leased at their commit.
    lease: Lease,
    batch: Batch,
    producers: Vec<Producer>,
    reserved: VecDeque<Reserved>,
    notes: Vec<RecordNote>,
    /// The size of the items for limits: their events, and one for each change.
    parts: usize,
    deliveries: usize,
    bytes: usize,
}

impl Gathering {
    pub(in crate::core) fn new(id: BatchId, lease: Lease, now: Timestamp) -> Self {
        Self {
            lease,
            batch: Batch::new(id, now),
            producers: Vec::new(),
            reserved: VecDeque::new(),
            notes: Vec::new(),
            parts: 0,
            deliveries: 0,
            bytes: 0,
        }
    }

    pub(in crate::core) fn now(&self) -> Timestamp {
        self.batch.now
    }

    /// The size of its items for limits.
    pub(in crate::core) fn parts(&self) -> usize {
        self.parts
    }

    /// The number of its outcomes.
    pub(in crate::core) fn records(&self) -> usize {
        self.notes.len()
    }

    /// True if an item of this size fits. The first always does.
    pub(in crate::core) fn has_room(&self, deliveries: usize, bytes: usize, config: &CoreConfig) -> bool {
        self.producers.is_empty()
            || (self.deliveries + deliveries <= config.batch_deliveries_max
                && self.bytes + bytes <= config.batch_bytes_max)
    }

    /// Adds the reservation of the next delivery, and returns the delivery's lease.
    pub(in crate::core) fn add_reserved(&mut self, reserved: Option<Reserved>) -> Option<Lease> {
        let lease = reserved.is_some().then_some(self.lease);
        self.reserved.extend(reserved);
        lease
    }

    /// Adds an item. The reservations of its deliveries come before it.
    pub(in crate::core) fn add_item(&mut self, item: IntakeItem, parts: usize, producer: Producer) {
        self.parts += parts;
        self.deliveries += item.events.iter().map(|new| new.deliveries.len()).sum::<usize>();
        self.bytes += item.events.iter().map(bytes_of).sum::<usize>();
        self.producers.push(producer);
        self.batch.intakes.push(item);
    }

    /// Adds an outcome.
    pub(in crate::core) fn add_record(&mut self, record: AttemptRecord, note: RecordNote) {
        self.batch.attempts.push(record);
        self.notes.push(note);
    }

    /// Ends it; `None` if it is empty.
    pub(super) fn into_commit(self) -> Option<CommitInFlight> {
        let Self { batch, producers, reserved, notes, .. } = self;
        let is_empty = batch.intakes.is_empty() && batch.attempts.is_empty();
        let reservations = Reservations { reserved, redelivered: Vec::new() };
        (!is_empty).then(|| CommitInFlight { batch: Arc::new(batch), producers, reservations, notes })
    }
}

/// The bytes that a new event brings into a commit: its payload, and the messages that were rendered of it.
fn bytes_of(new: &NewEvent) -> usize {
    let bodies = new.deliveries.iter().filter_map(|delivery| delivery.body.as_ref());
    new.event.payload.len() + bodies.map(Bytes::len).sum::<usize>()
}
