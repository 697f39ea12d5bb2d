//! Deliveries in progress: from their lease until their outcome is recorded. A delivery in progress is never sent twice at the
//! same time.
//!
//! A lease may end while its outcome is on the way to a commit, or this node may not have heard yet that the outcome is
//! recorded. The node may then lease the delivery again. An outcome that waits is recorded under the new lease. If the outcome
//! is recorded already, the delivery is sent under the new lease.

use std::collections::HashMap;
use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::delivery::Delivery;
use stackbell_model::ids::{DeliveryId, LeaseToken, OrganizationId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{AttemptRecord, AttemptSubject, Lease};
use stackbell_store::queue::LeasedDelivery;

/// A delivery in progress.
#[derive(Debug)]
struct Current {
    /// The lease that will record its outcome.
    token: LeaseToken,
    /// A user may cancel the delivery and start it again. This tells the two apart.
    rearmed_at: Option<Timestamp>,
    /// A lease that was taken since.
    kept: Option<Box<KeptLease>>,
}

/// A lease that cannot be used yet.
#[derive(Debug)]
pub(super) struct KeptLease {
    webhook: Arc<Webhook>,
    leased: LeasedDelivery,
    lease: Lease,
}

impl KeptLease {
    pub(super) fn new(webhook: Arc<Webhook>, leased: LeasedDelivery, lease: Lease) -> Self {
        Self { webhook, leased, lease }
    }

    pub(super) fn delivery(&self) -> DeliveryId {
        self.leased.delivery.id
    }

    pub(super) fn organization(&self) -> OrganizationId {
        self.webhook.organization
    }

    pub(super) fn webhook(&self) -> &Arc<Webhook> {
        &self.webhook
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    pub(super) fn into_parts(self) -> (Arc<Webhook>, LeasedDelivery, Lease) {
        (self.webhook, self.leased, self.lease)
    }
}

/// All deliveries in progress.
#[derive(Debug, Default)]
pub(super) struct InProgress {
    /// Those of the queue.
    leased: HashMap<DeliveryId, Current>,
    /// Redeliveries, with the number of their attempts. Also deliveries of the queue that ended while a lease request was under
    /// way, until its response is there.
    redelivering: HashMap<DeliveryId, u32>,
    /// The entries of `redelivering` that end with the response to the lease request under way. That response may be older than
    /// their outcome.
    redelivered: Vec<DeliveryId>,
}

impl InProgress {
    /// True if an attempt of the delivery is in flight, or if its outcome is not known to be recorded.
    pub(super) fn contains(&self, delivery: DeliveryId) -> bool {
        self.leased.contains_key(&delivery) || self.redelivering.contains_key(&delivery)
    }

    /// An attempt of the queue begins.
    pub(super) fn begin(&mut self, delivery: &Delivery, token: LeaseToken) {
        let current = Current { token, rearmed_at: delivery.rearmed_at, kept: None };
        self.leased.insert(delivery.id, current);
    }

    /// An outcome that showed `token` is recorded, or never will be. Returns the lease that was taken since.
    pub(super) fn end(&mut self, delivery: DeliveryId, token: LeaseToken) -> Option<KeptLease> {
        let kept = *self.leased.remove(&delivery)?.kept?;
        (kept.lease.token != token).then_some(kept)
    }

    /// Keeps another lease of a delivery in progress. An outcome that waits is recorded under it, unless the delivery was
    /// cancelled and started again since: the outcome says nothing about that.
    pub(super) fn keep_lease(&mut self, kept: KeptLease) {
        let delivery = &kept.leased.delivery;
        if let Some(current) = self.leased.get_mut(&delivery.id) {
            if current.rearmed_at == delivery.rearmed_at {
                current.token = kept.lease.token;
            }
            current.kept = Some(Box::new(kept));
        }
    }

    /// Gives a record the current lease of its delivery.
    pub(super) fn renew_lease_of(&self, record: &mut AttemptRecord) {
        if let AttemptSubject::Leased { delivery, token, .. } = &mut record.subject
            && let Some(current) = self.leased.get(delivery)
        {
            *token = current.token;
        }
    }

    /// True if another lease of its delivery was taken since the record got its own.
    pub(super) fn shows_old_lease(&self, record: &AttemptRecord) -> bool {
        match record.subject {
            AttemptSubject::Leased { delivery, token, .. } => {
                self.leased.get(&delivery).is_some_and(|current| current.token != token)
            }
            AttemptSubject::Redelivery { .. } | AttemptSubject::Ping(_) => false,
        }
    }

    /// A user requested one more attempt of the delivery.
    pub(super) fn begin_redelivery(&mut self, delivery: DeliveryId) {
        *self.redelivering.entry(delivery).or_default() += 1;
    }

    /// A redelivery is recorded, or never will be. It may have ended the delivery: returns the kept lease, which is of no use.
    pub(super) fn end_redelivery(&mut self, delivery: DeliveryId) -> Option<KeptLease> {
        if let Some(count) = self.redelivering.get_mut(&delivery) {
            *count -= 1;
            if *count == 0 {
                self.redelivering.remove(&delivery);
            }
        }
        self.leased.get_mut(&delivery)?.kept.take().map(|kept| *kept)
    }

    /// A redelivery ends once the lease request that is under way has its response.
    pub(super) fn end_redelivery_later(&mut self, delivery: DeliveryId) {
        self.redelivered.push(delivery);
    }

    /// A delivery of the queue ended. It counts as in progress until the lease request that is under way has its response.
    pub(super) fn end_after_lease_request(&mut self, delivery: DeliveryId) {
        self.begin_redelivery(delivery);
        self.end_redelivery_later(delivery);
    }

    /// Takes the deliveries that waited for the response to a lease request.
    pub(super) fn take_redelivered(&mut self) -> Vec<DeliveryId> {
        std::mem::take(&mut self.redelivered)
    }
}
