//! A batch in the making.

use std::collections::VecDeque;

use bytes::Bytes;
use stackbell_store::commit::{Batch, Lease, NewEvent};

use super::{CoreConfig, Producer, RecordNote, Reserved};

/// A batch in the making.
pub(super) struct Gathering {
    pub(super) lease: Lease,
    pub(super) batch: Batch,
    pub(super) producers: Vec<Producer>,
    pub(super) reserved: VecDeque<Reserved>,
    pub(super) notes: Vec<RecordNote>,
    /// See [`super::PendingIntake::parts`].
    pub(super) parts: usize,
    pub(super) deliveries: usize,
    pub(super) bytes: usize,
}

impl Gathering {
    pub(super) fn new(batch: Batch, lease: Lease) -> Self {
        Self {
            lease,
            batch,
            producers: Vec::new(),
            reserved: VecDeque::new(),
            notes: Vec::new(),
            parts: 0,
            deliveries: 0,
            bytes: 0,
        }
    }

    /// Whether an item of this size may come along. The first always may.
    pub(super) fn has_room(&self, deliveries: usize, bytes: usize, config: &CoreConfig) -> bool {
        self.producers.is_empty()
            || (self.deliveries + deliveries <= config.batch_deliveries_max
                && self.bytes + bytes <= config.batch_bytes_max)
    }
}

/// What a new event brings into a commit: its payload, and the messages that were rendered of it.
pub(super) fn bytes_of(new: &NewEvent) -> usize {
    let bodies = new.deliveries.iter().filter_map(|delivery| delivery.body.as_ref());
    new.event.payload.len() + bodies.map(Bytes::len).sum::<usize>()
}
