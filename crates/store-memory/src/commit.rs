//! The group commit. Each part of a batch is decided as a whole before any of it is written, so that a refused part leaves
//! nothing behind.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Verdict};
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, EventId, OrganizationId, SourceId, WebhookId};
use stackbell_model::retry::Next;
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::StoreError;
use stackbell_store::commit::{
    AttemptOutcome, AttemptRecord, AttemptSubject, Batch, BatchOutcome, Commit, IntakeItem, IntakeOutcome,
    NewEvent,
};
use stackbell_store::decision::{Decision, Earlier, Lookups, count, decide};
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
