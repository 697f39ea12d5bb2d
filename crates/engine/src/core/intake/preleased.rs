//! New deliveries that are born leased.

use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{HeldDelivery, LeasedDelivery};

use crate::core::Core;
use crate::core::attempts::Requester;
use crate::core::messages::Command;
use crate::core::permits::Permit;
use crate::core::prefetch::Prefetched;

/// What is kept for a delivery that is born leased.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) place: Place,
    pub(super) webhook: Arc<Webhook>,
}

#[derive(Debug)]
pub(super) enum Place {
    /// It is sent at once.
    Attempt(Permit),
    /// It waits for its lane, unless that has changed more often than this by then.
    Prefetch { place: Permit, changes: u64 },
}

impl Core {
    pub(super) fn begin_preleased(
        &mut self,
        preleased: LeasedDelivery,
        lease: Lease,
        kept: Reserved,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let Reserved { place, webhook } = kept;
        match place {
            Place::Attempt(permit) => {
                let LeasedDelivery { delivery, payload } = preleased;
                let requester = Requester::leased(&delivery, lease.token);
                self.begin_attempt(webhook, delivery, payload, requester, permit, now, commands);
            }
            Place::Prefetch { place, changes } => {
                let id = webhook.id;
                let lane = self.lanes.get_mut(&id);
                let is_as_it_was = lane.is_some_and(|lane| {
                    lane.keep_promise(1);
                    lane.changes == changes
                });
                if is_as_it_was {
                    let since = self.leased_at(lease);
                    self.keep_prefetched(Prefetched::new(webhook, preleased, lease, since, place));
                    self.reschedule(id, now);
                } else {
                    self.places.release(place);
                    self.give_back_one(HeldDelivery { webhook: id, delivery: preleased.delivery.id, lease });
                }
            }
        }
    }
}
