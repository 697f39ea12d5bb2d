//! Leasing.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{
    HeldDelivery, LaneDue, LaneRequest, Leased, LeasedDelivery, LeasedLane, Queue, Wanted,
};

use crate::MemoryStore;
use crate::tables::{Tables, page};

#[async_trait]
impl Queue for MemoryStore {
    async fn lease_deliveries(
        &self,
        lanes: &[LaneRequest],
        now: Timestamp,
        lease: Lease,
    ) -> Result<Leased, StoreError> {
        let mut tables = self.lock();
        let sending_held = !lanes.is_empty() && tables.sending_hold.is_some();
        let lanes = lanes.iter().map(|request| tables.lease_lane(request, now, lease)).collect();
        Ok(Leased { lanes, sending_held })
    }

    async fn release_deliveries(&self, held: &[HeldDelivery]) -> Result<(), StoreError> {
        let mut tables = self.lock();
        for HeldDelivery { delivery, lease, .. } in held {
            if let Some(row) = tables.deliveries.get_mut(delivery)
                && row.lease.is_some_and(|current| current.token == lease.token)
            {
                row.lease = None;
            }
        }
        Ok(())
    }

    async fn due_lanes(&self, after: Option<WebhookId>, limit: u32) -> Result<Vec<LaneDue>, StoreError> {
        let tables = self.lock();
        let webhooks =
            tables.webhooks.values().filter(|webhook| after.is_none_or(|after| webhook.id > after));
        let due = webhooks.filter_map(|webhook| {
            let (next_due, _) = tables.lane(webhook.id).next()?;
            Some(LaneDue { organization: webhook.organization, webhook: webhook.id, next_due })
        });
        Ok(page(due, limit))
    }
}

impl Tables {
    fn lease_lane(&mut self, request: &LaneRequest, now: Timestamp, lease: Lease) -> LeasedLane {
        let Some(webhook) = self.webhooks.get(&request.webhook).cloned() else {
            return LeasedLane { webhook: None, deliveries: Vec::new(), next_due: None };
        };
        let (taken, next_due) = self.choose(&webhook, request, now);
        let given = self.lease_given(lease, now);
        let deliveries = taken.into_iter().map(|id| self.lease_one(id, given)).collect();
        LeasedLane { webhook: Some(webhook), deliveries, next_due }
    }

    /// The deliveries to lease, and the time when the next of the others is due.
    fn choose(
        &self,
        webhook: &Webhook,
        request: &LaneRequest,
        now: Timestamp,
    ) -> (Vec<DeliveryId>, Option<Timestamp>) {
        let Wanted { count_max, due_max } = request.wanted(webhook, now);
        let lease_now = self.lease_now(now);
        let mut taken = Vec::new();
        let mut next_due: Option<Timestamp> = None;
        for (due_at, id) in self.lane(webhook.id) {
            let leased_until = self.deliveries[&id].leased_until(lease_now);
            let may_take = taken.len() < count_max as usize && due_max.is_none_or(|max| due_at <= max);
            if leased_until.is_none() && may_take {
                taken.push(id);
                continue;
            }
            // Uses the caller's clock, to which the remaining time of a lease is added.
            let free_at = leased_until.map_or(due_at, |until| now.after(until.since(lease_now)).max(due_at));
            next_due = Some(next_due.map_or(free_at, |earliest| earliest.min(free_at)));
        }
        (taken, next_due)
    }

    fn lease_one(&mut self, id: DeliveryId, lease: Lease) -> LeasedDelivery {
        let row = self.deliveries.get_mut(&id).expect("what is in a lane is a delivery");
        row.lease = Some(lease);
        let delivery = row.delivery.clone();
        LeasedDelivery { payload: self.stored_delivery(&delivery).payload, delivery }
    }
}
