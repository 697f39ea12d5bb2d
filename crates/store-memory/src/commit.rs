//! The group commit. Each item of a batch is checked completely before any of it is written, so that a refused item leaves
//! nothing behind.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State};
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, EventId, OrganizationId, SourceId, WebhookId};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::StoreError;
use stackbell_store::commit::{
    AttemptOutcome, AttemptRecord, AttemptSubject, Batch, BatchOutcome, Commit, IntakeItem, IntakeOutcome,
    NewEvent,
};
use stackbell_store::decision::attempt::{Effect, late, leased, on_demand};
use stackbell_store::decision::intake::{Decision, Earlier, Lookups, count, decide};
use stackbell_store::statistics::Usage;

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
        let decision = match decide(&item, &mut Found { tables: self, organization: item.organization }) {
            Ok(decision) => decision,
            Err(never) => match never {},
        };
        match decision {
            Decision::Refuse(outcome) => outcome,
            Decision::Accept { applies_change, receipts } => {
                if let Some(change) = item.change.filter(|_| applies_change) {
                    self.apply(item.organization, change.change);
                }
                for (new, receipt) in item.events.into_iter().zip(&receipts) {
                    assert_eq!(new.event.organization, item.organization, "an item is of one organization");
                    if !receipt.duplicate {
                        self.insert_event(new, now);
                    }
                }
                IntakeOutcome::Accepted(receipts)
            }
            Decision::DropEvents(part) => {
                if let Some(change) = item.change {
                    self.apply(item.organization, change.change);
                    self.write_audit(change.dropped);
                }
                IntakeOutcome::EventsDropped(part)
            }
        }
    }

    fn apply(&mut self, organization: OrganizationId, change: Change) {
        match change {
            Change::AdvanceCursor { source, from: _, to } => {
                self.source_cursors.insert((organization, source), to);
            }
        }
    }

    fn insert_event(&mut self, NewEvent { event, deliveries }: NewEvent, now: Timestamp) {
        let count = count(&deliveries);
        for delivery in deliveries {
            let lease = delivery.lease.map(|lease| self.lease_given(lease, now));
            self.put_delivery(DeliveryRow { delivery: delivery.to_delivery(&event), lease });
        }
        self.put_event(event, count);
    }

    fn record(&mut self, record: AttemptRecord) -> AttemptOutcome {
        let id = record.webhook;
        let live = self.webhooks.get(&id).map(|webhook| (webhook, None));
        let deleted = || self.deleted_webhooks.get(&id).map(|row| (&row.webhook, Some(row.by.clone())));
        let Some((webhook, deleted_by)) = live.or_else(deleted) else { return AttemptOutcome::Superseded };
        let health = record.health_after(webhook.health, webhook.revision, deleted_by.is_some());
        let AttemptRecord { attempt, subject, .. } = record;
        let attempt = Attempt { duration: whole_milliseconds(attempt.duration), ..attempt };
        let ended = match subject {
            AttemptSubject::Leased { delivery, token, next } => {
                let Some(row) = self.delivery_of(id, delivery) else { return AttemptOutcome::Superseded };
                let effect = if row.lease.is_some_and(|lease| lease.token == token) {
                    Effect::Moved(leased(next, &attempt, deleted_by.as_deref()))
                } else {
                    let is_recorded = self.has_attempt(&row.delivery, &attempt);
                    late(row.delivery.state.kind(), is_recorded, &attempt)
                };
                self.write_effect(row, effect, attempt)
            }
            AttemptSubject::Redelivery { delivery } => {
                let Some(row) = self.delivery_of(id, delivery) else { return AttemptOutcome::Superseded };
                let effect = on_demand(row.delivery.state.kind(), &attempt);
                self.write_effect(row, effect, attempt)
            }
            AttemptSubject::Ping(delivery) if self.deliveries.contains_key(&delivery.id) => None,
            AttemptSubject::Ping(delivery) => {
                let row = pinged(id, *delivery);
                self.put_attempt(&row.delivery, attempt);
                self.put_delivery(row);
                Some(None)
            }
        };
        let Some(ended) = ended else { return AttemptOutcome::Superseded };
        if let Some(webhook) = self.webhooks.get_mut(&id) {
            webhook.health = health;
        }
        AttemptOutcome::Recorded { health, ended }
    }

    /// Writes the effect of an attempt on its delivery. `None` if the attempt is superseded; otherwise how it ended the delivery.
    fn write_effect(&mut self, row: DeliveryRow, effect: Effect, attempt: Attempt) -> Option<Option<State>> {
        let (row, ended) = match effect {
            Effect::Superseded => return None,
            Effect::Recorded => (row, None),
            Effect::Moved(transition) => {
                let ended = transition.ended().cloned();
                let spent = row.delivery.attempts_spent.saturating_add(u32::from(transition.spent));
                let delivery = Delivery { state: transition.to, attempts_spent: spent, ..row.delivery };
                (DeliveryRow { delivery, lease: None }, ended)
            }
        };
        self.put_attempt(&row.delivery, attempt);
        self.put_delivery(row);
        Some(ended)
    }

    /// Whether an attempt of a delivery is recorded.
    fn has_attempt(&self, delivery: &Delivery, attempt: &Attempt) -> bool {
        let mut recorded = self.attempts_of(delivery.webhook).filter(|row| row.delivery == delivery.id);
        recorded
            .any(|row| (row.attempt.started_at, row.attempt.trigger) == (attempt.started_at, attempt.trigger))
    }

    fn delivery_of(&self, webhook: WebhookId, delivery: DeliveryId) -> Option<DeliveryRow> {
        self.deliveries.get(&delivery).filter(|row| row.delivery.webhook == webhook).cloned()
    }
}

/// The facts about an organization.
struct Found<'tables> {
    tables: &'tables Tables,
    organization: OrganizationId,
}

impl Lookups for Found<'_> {
    type Fault = Infallible;

    fn version(&mut self) -> Result<Option<u64>, Infallible> {
        Ok(self.tables.organizations.get(&self.organization).map(|row| row.version))
    }

    fn event(&mut self, id: EventId) -> Result<Option<Earlier>, Infallible> {
        let key = self.tables.event_keys.get(&(self.organization, id));
        let stored = key.and_then(|key| self.tables.events.get(key));
        Ok(stored.map(|stored| Earlier { digest: stored.event.digest, deliveries: stored.deliveries }))
    }

    fn cursor(&mut self, source: SourceId) -> Result<Option<SourceCursor>, Infallible> {
        Ok(self.tables.source_cursors.get(&(self.organization, source)).cloned())
    }

    fn usage(&mut self) -> Result<Usage, Infallible> {
        Ok(self.tables.usage(self.organization))
    }
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
