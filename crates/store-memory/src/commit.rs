//! The group commit. Each part of a batch is judged whole before anything of it is written,
//! so that one that is refused leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, Verdict};
use stackbell_model::event::Event;
use stackbell_model::ids::{DeliveryId, EventId, WebhookId};
use stackbell_model::retry::Next;
use stackbell_store::StoreError;
use stackbell_store::commit::{
    AttemptOutcome, AttemptRecord, AttemptSubject, Batch, BatchOutcome, Commit, IntakeItem, IntakeOutcome,
    NewEvent, QuotaPart, Receipt,
};

use crate::MemoryStore;
use crate::tables::{DeliveryRow, Tables};

#[async_trait]
impl Commit for MemoryStore {
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError> {
        let batch = Arc::unwrap_or_clone(batch);
        let mut tables = self.lock();
        let now = batch.now;
        let is_empty = batch.intakes.is_empty() && batch.attempts.is_empty();
        Ok(BatchOutcome {
            sending_held: !is_empty && tables.sending_hold.is_some(),
            intakes: batch.intakes.into_iter().map(|item| tables.accept(item, now)).collect(),
            attempts: batch.attempts.into_iter().map(|record| tables.record(record)).collect(),
        })
    }
}

impl Tables {
    fn accept(&mut self, item: IntakeItem, now: Timestamp) -> IntakeOutcome {
        let version = self.organizations.get(&item.organization).map(|row| row.version);
        if version != Some(item.organization_version) {
            return IntakeOutcome::Stale;
        }
        let receipts = match self.receipts(&item) {
            Ok(receipts) => receipts,
            Err(index) => return IntakeOutcome::Conflict { index },
        };
        if let Some(part) = self.over_quota(&item, &receipts) {
            return IntakeOutcome::OverQuota(part);
        }
        for (new, receipt) in item.events.into_iter().zip(&receipts) {
            if !receipt.duplicate {
                self.insert_event(new, now);
            }
        }
        IntakeOutcome::Accepted(receipts)
    }

    /// What each event will get, or the index of the first that cannot be let in.
    fn receipts(&self, item: &IntakeItem) -> Result<Vec<Receipt>, usize> {
        let mut earlier_in_item: BTreeMap<EventId, (Option<[u8; 32]>, u32)> = BTreeMap::new();
        let mut receipts = Vec::with_capacity(item.events.len());
        for (index, NewEvent { event, deliveries }) in item.events.iter().enumerate() {
            assert_eq!(event.organization, item.organization, "an item is of one organization");
            let known = earlier_in_item.get(&event.id).copied().or_else(|| self.known_event(event));
            let receipt = match known {
                None => {
                    let count = u32::try_from(deliveries.len()).expect("webhooks are fewer than 2^32");
                    earlier_in_item.insert(event.id, (event.digest, count));
                    Receipt { id: event.id, deliveries: count, duplicate: false }
                }
                Some((digest, count)) if digest.is_some() && digest == event.digest => {
                    Receipt { id: event.id, deliveries: count, duplicate: true }
                }
                Some(_) => return Err(index),
            };
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    fn over_quota(&self, item: &IntakeItem, receipts: &[Receipt]) -> Option<QuotaPart> {
        if receipts.iter().all(|receipt| receipt.duplicate) {
            return None;
        }
        let new = receipts.iter().filter(|receipt| !receipt.duplicate);
        let deliveries: u64 = new.map(|receipt| u64::from(receipt.deliveries)).sum();
        let usage = self.usage(item.organization);
        if usage.pending + deliveries > item.quota.pending_max {
            Some(QuotaPart::Pending)
        } else if usage.stored_bytes >= item.quota.stored_bytes_max {
            Some(QuotaPart::StoredBytes)
        } else {
            None
        }
    }

    fn known_event(&self, event: &Event) -> Option<(Option<[u8; 32]>, u32)> {
        let key = self.event_keys.get(&(event.organization, event.id))?;
        self.events.get(key).map(|stored| (stored.event.digest, stored.deliveries))
    }

    fn insert_event(&mut self, NewEvent { event, deliveries }: NewEvent, now: Timestamp) {
        let count = u32::try_from(deliveries.len()).expect("webhooks are fewer than 2^32");
        for delivery in deliveries {
            let lease = delivery.lease.map(|lease| self.lease_given(lease, now));
            self.put_delivery(DeliveryRow { delivery: delivery.born(&event), lease });
        }
        self.put_event(event, count);
    }

    fn record(&mut self, AttemptRecord { webhook, attempt, subject }: AttemptRecord) -> AttemptOutcome {
        let Some(health) = self.webhooks.get(&webhook).map(|webhook| webhook.health) else {
            return AttemptOutcome::Superseded;
        };
        let attempt = Attempt { duration: whole_milliseconds(attempt.duration), ..attempt };
        let ended_at = attempt.started_at.after(attempt.duration);
        let verdict = attempt.outcome.verdict();
        let row = match subject {
            AttemptSubject::Leased { delivery, token, next } => self
                .delivery_of(webhook, delivery)
                .filter(|row| row.lease.is_some_and(|lease| lease.token == token))
                .map(|row| DeliveryRow { delivery: followed(row.delivery, next, ended_at), lease: None }),
            AttemptSubject::Redelivery { delivery } => self
                .delivery_of(webhook, delivery)
                .map(|row| if verdict == Verdict::Success { succeeded(row, ended_at) } else { row }),
            AttemptSubject::Ping(delivery) if self.deliveries.contains_key(&delivery.id) => None,
            AttemptSubject::Ping(delivery) => Some(pinged(webhook, *delivery)),
        };
        let Some(row) = row else { return AttemptOutcome::Superseded };

        let health = health.after(attempt.trigger, verdict, ended_at);
        self.put_attempt(&row.delivery, attempt);
        self.put_delivery(row);
        if let Some(webhook) = self.webhooks.get_mut(&webhook) {
            webhook.health = health;
        }
        AttemptOutcome::Recorded { health }
    }

    fn delivery_of(&self, webhook: WebhookId, delivery: DeliveryId) -> Option<DeliveryRow> {
        self.deliveries.get(&delivery).filter(|row| row.delivery.webhook == webhook).cloned()
    }
}

/// A pending delivery after a leased attempt. Only pending ones have a lease.
fn followed(delivery: Delivery, next: Next, ended_at: Timestamp) -> Delivery {
    let (state, spent) = match next {
        Next::Succeeded => (State::Succeeded { at: ended_at }, false),
        Next::Failed(reason) => (State::Failed { at: ended_at, reason }, false),
        Next::Retry { at, spent } => (State::Pending { due_at: at }, spent),
    };
    let attempts_spent = delivery.attempts_spent.saturating_add(u32::from(spent));
    Delivery { state, attempts_spent, ..delivery }
}

fn succeeded(row: DeliveryRow, at: Timestamp) -> DeliveryRow {
    DeliveryRow { delivery: Delivery { state: State::Succeeded { at }, ..row.delivery }, lease: None }
}

fn pinged(webhook: WebhookId, delivery: Delivery) -> DeliveryRow {
    assert_eq!(delivery.webhook, webhook, "a ping is its webhook's");
    assert!(delivery.body.is_some(), "a ping has bytes of its own");
    assert!(!matches!(delivery.state, State::Pending { .. }), "a ping comes into being finished");
    DeliveryRow { delivery, lease: None }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
