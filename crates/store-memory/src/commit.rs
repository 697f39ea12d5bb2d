//! The group commit. Each part of a batch is judged whole before anything of it is written,
//! so that one that is refused leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Verdict};
use stackbell_model::event::Event;
use stackbell_model::health::Health;
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
        let held = tables.held_of(&batch);
        Ok(BatchOutcome {
            held,
            sending_held: !is_empty && tables.sending_hold.is_some(),
            intakes: batch.intakes.into_iter().map(|item| tables.accept(item, now)).collect(),
            attempts: batch.attempts.into_iter().map(|record| tables.record(record)).collect(),
        })
    }
}

impl Tables {
    fn held_of(&self, batch: &Batch) -> Vec<(WebhookId, Health)> {
        let new = batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
        let leased = new.filter(|delivery| self.is_shared && delivery.lease.is_some());
        let webhooks: BTreeSet<WebhookId> = leased.map(|delivery| delivery.webhook).collect();
        let health = webhooks.into_iter().filter_map(|id| Some((id, self.webhooks.get(&id)?.health)));
        health.filter(|(_, health)| health.is_held(batch.now)).collect()
    }

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

    fn record(&mut self, record: AttemptRecord) -> AttemptOutcome {
        let live = self.webhooks.get(&record.webhook);
        let live = live.map(|webhook| (record.health_after(webhook.health, webhook.revision), None));
        let deleted = || {
            let row = self.deleted_webhooks.get(&record.webhook)?;
            Some((row.webhook.health, Some(row.by.clone())))
        };
        let Some((health, deleted_by)) = live.or_else(deleted) else {
            return AttemptOutcome::Superseded;
        };
        let AttemptRecord { webhook, attempt, subject, .. } = record;
        let attempt = Attempt { duration: whole_milliseconds(attempt.duration), ..attempt };
        let ended_at = attempt.ended_at();
        let is_success = attempt.outcome.verdict() == Verdict::Success;
        let row = match subject {
            AttemptSubject::Leased { delivery, token, next } => {
                self.delivery_of(webhook, delivery).and_then(|row| match row.delivery.state {
                    State::Pending { .. } if row.lease.is_some_and(|lease| lease.token == token) => {
                        let delivery = followed(row.delivery, next, ended_at, deleted_by.as_deref());
                        Some(DeliveryRow { delivery, lease: None })
                    }
                    State::Cancelled { .. } if !self.has_attempt(&row.delivery, &attempt) => {
                        Some(if is_success { succeeded(row, ended_at) } else { row })
                    }
                    State::Pending { .. }
                    | State::Cancelled { .. }
                    | State::Succeeded { .. }
                    | State::Failed { .. } => None,
                })
            }
            AttemptSubject::Redelivery { delivery } => self
                .delivery_of(webhook, delivery)
                .map(|row| if is_success { succeeded(row, ended_at) } else { row }),
            AttemptSubject::Ping(delivery) if self.deliveries.contains_key(&delivery.id) => None,
            AttemptSubject::Ping(delivery) => Some(pinged(webhook, *delivery)),
        };
        let Some(row) = row else { return AttemptOutcome::Superseded };

        let before = self.deliveries.get(&row.delivery.id).map(|row| row.delivery.state.kind());
        let state = &row.delivery.state;
        let has_ended =
            state.kind() != StateKind::Pending && before.is_some_and(|before| before != state.kind());
        let ended = has_ended.then(|| state.clone());
        self.put_attempt(&row.delivery, attempt);
        self.put_delivery(row);
        if let Some(webhook) = self.webhooks.get_mut(&webhook) {
            webhook.health = health;
        }
        AttemptOutcome::Recorded { health, ended }
    }

    /// Whether an attempt of a delivery is in.
    fn has_attempt(&self, delivery: &Delivery, attempt: &Attempt) -> bool {
        let mut recorded = self.attempts_of(delivery.webhook).filter(|row| row.delivery == delivery.id);
        recorded
            .any(|row| (row.attempt.started_at, row.attempt.trigger) == (attempt.started_at, attempt.trigger))
    }

    fn delivery_of(&self, webhook: WebhookId, delivery: DeliveryId) -> Option<DeliveryRow> {
        self.deliveries.get(&delivery).filter(|row| row.delivery.webhook == webhook).cloned()
    }
}

/// A pending delivery after a leased attempt. Only pending ones have a lease.
fn followed(delivery: Delivery, next: Next, ended_at: Timestamp, deleted_by: Option<&str>) -> Delivery {
    let (state, spent) = next.state(ended_at, deleted_by);
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
