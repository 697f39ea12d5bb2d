//! New deliveries that are leased at their commit: reserve, then send or prefetch.

use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{IntakeItem, NewDelivery, NewEvent, Receipt};
use stackbell_store::queue::{HeldDelivery, LeasedDelivery};

use super::Dispatch;
use crate::core::attempts::Start;
use crate::core::commits::Reservations;
use crate::core::lane::Prefetched;
use crate::core::lanes::Admission;
use crate::core::messages::Command;
use crate::core::preleased::{Place, Reserved};
use crate::core::requester::Requester;

impl Dispatch {
    /// Reserves what a new delivery of so many bytes needs to be leased at its commit: a permit if it can be sent at once, a
    /// place if it can be prefetched.
    pub(in crate::core) fn reserve(
        &mut self,
        webhook: &Arc<Webhook>,
        bytes: usize,
        now: Timestamp,
    ) -> Option<Reserved> {
        if !self.may_send() {
            return None;
        }
        let place = match self.lanes.admit(webhook, bytes, now) {
            Admission::Attempt(permit) => Place::Attempt(permit),
            Admission::Prefetch(lane) => {
                let place = self.prefetch.reserve(webhook.organization)?;
                lane.promise(1);
                Place::Prefetch { place, changes: lane.changes() }
            }
            Admission::No => return None,
        };
        Some(Reserved::new(place, webhook))
    }

    /// An item is committed: its deliveries are sent or prefetched, as far as they are leased.
    pub(in crate::core) fn accepted(
        &mut self,
        item: &IntakeItem,
        receipts: &[Receipt],
        reservations: &mut Reservations,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        for (new, receipt) in item.events.iter().zip(receipts) {
            for delivery in &new.deliveries {
                match reservations.take(delivery) {
                    Some((_, reserved)) if receipt.duplicate => self.drop_reserved(reserved, now),
                    Some((lease, reserved)) => {
                        let is_redelivered = reservations.was_redelivered(delivery.id);
                        let held = HeldDelivery { webhook: delivery.webhook, delivery: delivery.id, lease };
                        self.accepted_leased(new, delivery, held, reserved, is_redelivered, now, commands);
                    }
                    None if receipt.duplicate => {}
                    None => self.lanes.note_due(item.organization, delivery.webhook, now, now),
                }
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing; a struct would only rename them"
    )]
    fn accepted_leased(
        &mut self,
        new: &NewEvent,
        delivery: &NewDelivery,
        held: HeldDelivery,
        reserved: Reserved,
        is_redelivered: bool,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let HeldDelivery { webhook, lease, .. } = held;
        let lane = self.lanes.get(webhook);
        // The commit took longer than the lease, or may have, because the clock was set back; or the lane has to wait by now;
        // or this node is stopping.
        if lease.until <= now
            || self.config.leased_at(lease) > now
            || lane.is_some_and(|lane| lane.must_hold_new(now))
            || self.stopping
        {
            self.drop_reserved(reserved, now);
            self.lanes.note_due(new.event.organization, webhook, now, now);
            self.prefetch.release(held);
        // Sending was held meanwhile; or a search or a redelivery found the delivery in the store before this node heard of the
        // commit.
        } else if !self.may_begin()
            || self.in_progress.contains(delivery.id)
            || lane.is_some_and(|lane| lane.find_prefetched(delivery.id).is_some())
            || is_redelivered
        {
            self.drop_reserved(reserved, now);
            self.lanes.note_due(new.event.organization, webhook, lease.until, now);
        } else {
            let payload = delivery.body.clone().unwrap_or_else(|| new.event.payload.clone());
            let leased = LeasedDelivery { delivery: delivery.to_delivery(&new.event), payload };
            self.begin_preleased(leased, held, reserved, now, commands);
        }
    }

    fn begin_preleased(
        &mut self,
        leased: LeasedDelivery,
        held: HeldDelivery,
        reserved: Reserved,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let lease = held.lease;
        match reserved.into_parts() {
            (Place::Attempt(permit), webhook) => {
                let requester = Requester::queue(&leased.delivery, lease.token);
                self.begin_attempt(Start::new(webhook, leased, requester, permit), now, commands);
            }
            (Place::Prefetch { place, changes }, webhook) => {
                let lane = self.lanes.get_mut(held.webhook);
                let is_unchanged = lane.is_some_and(|lane| {
                    lane.keep_promise(1);
                    lane.changes() == changes
                });
                if is_unchanged {
                    let since = self.config.leased_at(lease);
                    let prefetched = Prefetched::new(webhook, leased, lease, since, place);
                    self.prefetch.keep(prefetched, &mut self.lanes);
                    self.lanes.reschedule(held.webhook, now);
                } else {
                    self.prefetch.release_places([place]);
                    self.prefetch.release(held);
                }
            }
        }
    }

    /// Gives back what was reserved for a delivery that is not leased after all.
    pub(in crate::core) fn drop_reserved(&mut self, reserved: Reserved, now: Timestamp) {
        let (place, webhook) = reserved.into_parts();
        match place {
            Place::Attempt(permit) => self.lanes.drop_attempt(webhook.id, permit),
            Place::Prefetch { place, .. } => {
                self.prefetch.release_places([place]);
                self.lanes.get_mut(webhook.id).into_iter().for_each(|lane| lane.keep_promise(1));
            }
        }
        self.lanes.reschedule(webhook.id, now);
    }
}
