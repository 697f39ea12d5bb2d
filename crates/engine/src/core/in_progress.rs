//! Deliveries that are under way: from their lease until their outcome is recorded, they are not sent beside themselves.
//!
//! A lease may run out meanwhile, or we may not yet have heard that the outcome is in; then we may find the delivery in the
//! queue and lease it once more. An outcome that waits goes with the new lease. One that is in leaves it over, and the
//! delivery goes on under it.

use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::delivery::Delivery;
use stackbell_model::ids::{DeliveryId, LeaseToken};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{AttemptRecord, AttemptSubject, Lease};
use stackbell_store::queue::LeasedDelivery;

use super::Core;

/// What is known of a delivery that is under way.
#[derive(Debug)]
pub(super) struct InProgress {
    /// The lease that will record its outcome.
    token: LeaseToken,
    /// Which beginning of it: somebody may cancel it and have it begin anew meanwhile.
    rearmed_at: Option<Timestamp>,
    /// The lease that we have taken since.
    kept: Option<Box<KeptLease>>,
}

/// A lease that cannot be used yet.
#[derive(Debug)]
pub(super) struct KeptLease {
    pub(super) webhook: Arc<Webhook>,
    pub(super) leased: LeasedDelivery,
    pub(super) lease: Lease,
}

impl InProgress {
    pub(super) fn new(delivery: &Delivery, token: LeaseToken) -> Self {
        Self { token, rearmed_at: delivery.rearmed_at, kept: None }
    }

    pub(super) fn token(&self) -> LeaseToken {
        self.token
    }

    /// The lease that is left once the outcome is dealt with that showed `token`.
    pub(super) fn kept_beside(self, token: LeaseToken) -> Option<KeptLease> {
        self.kept.map(|kept| *kept).filter(|kept| kept.lease.token != token)
    }
}

impl Core {
    /// Whether an attempt of a delivery is on its way, or its outcome waits to be recorded.
    pub fn is_under_way(&self, delivery: DeliveryId) -> bool {
        self.in_progress.contains_key(&delivery) || self.redelivering.contains_key(&delivery)
    }

    /// Takes note that a delivery that is under way was leased once more. An outcome that waits goes with that lease; but
    /// not if the delivery was cancelled and has begun anew since, which that outcome says nothing about.
    pub(super) fn keep_lease(&mut self, kept: KeptLease) {
        let delivery = &kept.leased.delivery;
        if let Some(in_progress) = self.in_progress.get_mut(&delivery.id) {
            if in_progress.rearmed_at == delivery.rearmed_at {
                in_progress.token = kept.lease.token;
            }
            in_progress.kept = Some(Box::new(kept));
        }
    }

    /// Gives a record the lease that its delivery has now.
    pub(super) fn renew_lease_of(&self, record: &mut AttemptRecord) {
        if let AttemptSubject::Leased { delivery, token, .. } = &mut record.subject
            && let Some(current) = self.in_progress.get(delivery)
        {
            *token = current.token;
        }
    }

    /// Somebody who asked for a delivery again may have had it end: what we hold of it is read anew, once its lease has run out.
    pub(super) fn forget_kept_of(&mut self, delivery: DeliveryId, now: Timestamp) {
        let kept = self.in_progress.get_mut(&delivery).and_then(|in_progress| in_progress.kept.take());
        if let Some(kept) = kept {
            self.note_due(kept.webhook.organization, kept.webhook.id, kept.lease.until, now);
        }
    }
}
