//! The decision about an intake item: one rule for every store.
//!
//! A store implements [`Lookups`], calls [`decide`], and writes the [`Decision`]. Order of the checks:
//!
//! | check | outcome if it fails |
//! | --- | --- |
//! | stale: the item's version of the organization is the current one | [`IntakeOutcome::Stale`] |
//! | conflict: an id that is taken belongs to an event with the same digest | [`IntakeOutcome::Conflict`] |
//! | change: its precondition holds, or all events are duplicates | [`IntakeOutcome::ChangeRefused`] |
//! | quota: the organization may keep the new events | [`IntakeOutcome::OverQuota`]; with a change [`IntakeOutcome::EventsDropped`] |
//!
//! A duplicate item has events, and all of them are stored. Its change was applied then, because both were committed together.
//! If the precondition holds nevertheless, the change is applied: otherwise a source that lost track of its own events could
//! never advance.

use std::collections::HashMap;

use stackbell_model::event::Event;
use stackbell_model::ids::{EventId, SourceId};
use stackbell_model::source::{Change, SourceCursor};

use crate::commit::{IntakeItem, IntakeOutcome, NewDelivery, NewEvent, Quota, QuotaPart, Receipt};
use crate::statistics::Usage;

/// A stored event of the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// See [`Event::digest`].
    pub digest: Option<[u8; 32]>,
    /// The number of deliveries that it got when it was accepted.
    pub deliveries: u32,
}

impl Earlier {
    /// A new event, for later events with its id.
    pub fn of(new: &NewEvent) -> Self {
        Self { digest: new.event.digest, deliveries: count(&new.deliveries) }
    }

    /// The receipt for a duplicate of this event; `None` if `event` is another one.
    fn receipt(self, event: &Event) -> Option<Receipt> {
        let is_same = self.digest.is_some() && self.digest == event.digest;
        is_same.then_some(Receipt { id: event.id, deliveries: self.deliveries, duplicate: true })
    }
}

/// Facts about the organization of an item. Accepted items before it in the batch count as committed.
pub trait Lookups {
    /// The reason why a lookup failed.
    type Fault;

    /// The organization's version. `None` if the organization does not exist, or if a delivery's webhook is not the organization's.
    ///
    /// # Errors
    /// [`Self::Fault`].
    fn version(&mut self) -> Result<Option<u64>, Self::Fault>;

    /// The event with this id.
    ///
    /// # Errors
    /// [`Self::Fault`].
    fn event(&mut self, id: EventId) -> Result<Option<Earlier>, Self::Fault>;

    /// The cursor of a source.
    ///
    /// # Errors
    /// [`Self::Fault`].
    fn cursor(&mut self, source: SourceId) -> Result<Option<SourceCursor>, Self::Fault>;

    /// The usage of the organization.
    ///
    /// # Errors
    /// [`Self::Fault`].
    fn usage(&mut self) -> Result<Usage, Self::Fault>;
}

/// The writes that an item leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is written.
    Refuse(IntakeOutcome),
    /// The events whose receipts are no duplicates are inserted.
    Accept {
        /// True if the item's change is applied as well.
        applies_change: bool,
        /// A receipt for each event, in the item's order.
        receipts: Vec<Receipt>,
    },
    /// The item's change is applied, its audit entry is written, and no event is inserted.
    DropEvents(QuotaPart),
}

/// Decides about an item.
///
/// # Errors
/// The fault of a lookup.
pub fn decide<L: Lookups>(item: &IntakeItem, lookups: &mut L) -> Result<Decision, L::Fault> {
    if lookups.version()? != Some(item.organization_version) {
        return Ok(Decision::Refuse(IntakeOutcome::Stale));
    }
    let receipts = match receipts(item, lookups)? {
        Ok(receipts) => receipts,
        Err(index) => return Ok(Decision::Refuse(IntakeOutcome::Conflict { index })),
    };
    let new = receipts.iter().filter(|receipt| !receipt.duplicate);
    let (new_count, deliveries) =
        new.fold((0_usize, 0_u64), |(count, sum), new| (count + 1, sum + u64::from(new.deliveries)));
    let is_duplicate = !receipts.is_empty() && new_count == 0;
    let applies_change = match &item.change {
        None => false,
        Some(change) => holds(&change.change, lookups)?,
    };
    if item.change.is_some() && !applies_change && !is_duplicate {
        return Ok(Decision::Refuse(IntakeOutcome::ChangeRefused));
    }
    if new_count > 0
        && let Some(part) = exceeded(item.quota, lookups.usage()?, deliveries)
    {
        return Ok(match applies_change {
            true => Decision::DropEvents(part),
            false => Decision::Refuse(IntakeOutcome::OverQuota(part)),
        });
    }
    Ok(Decision::Accept { applies_change, receipts })
}

/// True if the precondition of a change holds.
fn holds<L: Lookups>(change: &Change, lookups: &mut L) -> Result<bool, L::Fault> {
    match change {
        Change::AdvanceCursor { source, from, to: _ } => Ok(lookups.cursor(*source)? == *from),
    }
}

/// The receipts of an item's events, or the index of the first conflict. An earlier event of the item counts as accepted.
fn receipts<L: Lookups>(item: &IntakeItem, lookups: &mut L) -> Result<Result<Vec<Receipt>, usize>, L::Fault> {
    let mut in_item = HashMap::new();
    let mut receipts = Vec::with_capacity(item.events.len());
    for (index, new) in item.events.iter().enumerate() {
        let id = new.event.id;
        let earlier = match in_item.get(&id) {
            Some(earlier) => Some(*earlier),
            None => lookups.event(id)?,
        };
        receipts.push(match earlier.map(|earlier| earlier.receipt(&new.event)) {
            Some(Some(duplicate)) => duplicate,
            Some(None) => return Ok(Err(index)),
            None => {
                let earlier = Earlier::of(new);
                // Most items have one event, and none after it to compare with.
                if item.events.len() > 1 {
                    in_item.insert(id, earlier);
                }
                Receipt { id, deliveries: earlier.deliveries, duplicate: false }
            }
        });
    }
    Ok(Ok(receipts))
}

/// The part of a quota that new events with this number of deliveries would exceed.
fn exceeded(quota: Quota, usage: Usage, deliveries: u64) -> Option<QuotaPart> {
    if usage.pending.saturating_add(deliveries) > quota.pending_max {
        Some(QuotaPart::Pending)
    } else if usage.stored_bytes >= quota.stored_bytes_max {
        Some(QuotaPart::StoredBytes)
    } else {
        None
    }
}

/// The number of an event's deliveries.
pub fn count(deliveries: &[NewDelivery]) -> u32 {
    u32::try_from(deliveries.len()).expect("webhooks are fewer than 2^32")
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
