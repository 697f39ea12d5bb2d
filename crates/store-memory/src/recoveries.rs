//! Retries of ended deliveries, and cancellation of pending ones.

use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{CancelReason, Delivery, State, StateKind, Trigger};
use stackbell_model::ids::{DeliveryId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::recoveries::{DeliveryChange, Recoveries, RecoveryCreated};

use crate::MemoryStore;
use crate::tables::{DeliveryRow, RecoveryRow, Tables, page};

#[async_trait]
impl Recoveries for MemoryStore {
    async fn cancel_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let mut tables = self.lock();
        let row = match tables.changeable(organization, delivery) {
            Ok(row) => row,
            Err(refusal) => return Ok(refusal),
        };
        let state = row.delivery.state.kind();
        if state != StateKind::Pending {
            return Ok(DeliveryChange::State(state));
        }
        let by = audit.actor.clone();
        tables.end(delivery, State::Cancelled { at: audit.at, reason: CancelReason::Asked, by });
        tables.write_audit(audit);
        Ok(DeliveryChange::Done { webhook: row.delivery.webhook })
    }

    async fn retry_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let mut tables = self.lock();
        let row = match tables.changeable(organization, delivery) {
            Ok(row) => row,
            Err(refusal) => return Ok(refusal),
        };
        let webhook = row.delivery.webhook;
        match row.delivery.state {
            State::Succeeded { .. } => return Ok(DeliveryChange::State(StateKind::Succeeded)),
            State::Pending { .. } => {}
            State::Failed { .. } | State::Cancelled { .. } => tables.rearm(row.delivery, audit.at),
        }
        tables.put_first(webhook, delivery, audit.at);
        tables.write_audit(audit);
        Ok(DeliveryChange::Done { webhook })
    }

    async fn count_recoverable(&self, webhook: WebhookId, since: Timestamp) -> Result<u64, StoreError> {
        Ok(self.lock().lost(webhook).filter(|(created_at, _, _)| *created_at >= since).count() as u64)
    }

    async fn create_recovery(
        &self,
        recovery: &Recovery,
        audit: AuditEntry,
    ) -> Result<RecoveryCreated, StoreError> {
        let mut tables = self.lock();
        let webhook = tables.webhooks.get(&recovery.webhook);
        if webhook.is_none_or(|webhook| webhook.organization != recovery.organization) {
            return Ok(RecoveryCreated::WebhookMissing);
        }
        if let Some(running) = tables.running().find(|running| running.webhook == recovery.webhook) {
            return Ok(RecoveryCreated::Running { id: running.id });
        }
        let row = RecoveryRow { recovery: recovery.clone(), done_to: None };
        tables.recoveries.insert(recovery.id, row);
        tables.write_audit(audit);
        Ok(RecoveryCreated::Done)
    }

    async fn recovery(
        &self,
        organization: OrganizationId,
        id: RecoveryId,
    ) -> Result<Option<Recovery>, StoreError> {
        let tables = self.lock();
        let found = tables.recoveries.get(&id).map(|row| &row.recovery);
        Ok(found.filter(|recovery| recovery.organization == organization).cloned())
    }

    async fn list_recoveries(
        &self,
        organization: OrganizationId,
        before: Option<RecoveryId>,
        limit: u32,
    ) -> Result<Vec<Recovery>, StoreError> {
        let tables = self.lock();
        let newest_first = tables.recoveries.values().rev().map(|row| &row.recovery);
        let older = newest_first
            .filter(|recovery| recovery.organization == organization)
            .filter(|recovery| before.is_none_or(|before| recovery.id < before));
        Ok(page(older.cloned(), limit))
    }

    async fn running_recoveries(&self, limit: u32) -> Result<Vec<Recovery>, StoreError> {
        Ok(page(self.lock().running().cloned(), limit))
    }

    async fn advance_recovery(
        &self,
        id: RecoveryId,
        now: Timestamp,
        rows_max: u32,
    ) -> Result<Option<Recovery>, StoreError> {
        let mut tables = self.lock();
        let Some(mut row) = tables.recoveries.remove(&id) else { return Ok(None) };
        if row.recovery.state == RecoveryState::Running {
            tables.advance(&mut row, now, rows_max);
        }
        let recovery = row.recovery.clone();
        tables.recoveries.insert(id, row);
        Ok(Some(recovery))
    }
}

impl Tables {
    /// Finds a delivery that a user may change, or the reason why not.
    fn changeable(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
    ) -> Result<DeliveryRow, DeliveryChange> {
        let row = self.deliveries.get(&delivery).ok_or(DeliveryChange::Missing)?;
        if row.delivery.organization != organization || row.delivery.trigger == Trigger::Ping {
            return Err(DeliveryChange::Missing);
        }
        if !self.webhooks.contains_key(&row.delivery.webhook) {
            return Err(DeliveryChange::WebhookDeleted);
        }
        Ok(row.clone())
    }

    /// Makes an ended delivery pending again.
    fn rearm(&mut self, delivery: Delivery, at: Timestamp) {
        let state = State::Pending { due_at: at };
        let delivery = Delivery { state, rearmed_at: Some(at), attempts_spent: 0, ..delivery };
        self.put_delivery(DeliveryRow { delivery, lease: None });
    }

    /// Makes a pending delivery due at `at`, or just before the first of the webhook's other deliveries if that is earlier.
    fn put_first(&mut self, webhook: WebhookId, id: DeliveryId, at: Timestamp) {
        let mut others = self.lane(webhook).filter(|(_, other)| *other != id);
        let before = others.next().map(|(due_at, _)| due_at.before(Duration::from_millis(1)));
        drop(others);
        let state = State::Pending { due_at: before.map_or(at, |before| before.min(at)) };
        let row = self.deliveries[&id].clone();
        self.put_delivery(DeliveryRow { delivery: Delivery { state, ..row.delivery }, ..row });
    }

    /// A webhook's failed and cancelled deliveries without pings: creation time, id and end.
    fn lost(&self, webhook: WebhookId) -> impl Iterator<Item = (Timestamp, DeliveryId, Timestamp)> {
        let deliveries = self.deliveries.values().map(|row| &row.delivery);
        let events = deliveries.filter(move |row| row.webhook == webhook && row.trigger != Trigger::Ping);
        events.filter_map(|row| match row.state {
            State::Pending { .. } | State::Succeeded { .. } => None,
            State::Failed { at, .. } | State::Cancelled { at, .. } => Some((row.created_at, row.id, at)),
        })
    }

    fn running(&self) -> impl Iterator<Item = &Recovery> {
        let recoveries = self.recoveries.values().map(|row| &row.recovery);
        recoveries.filter(|recovery| recovery.state == RecoveryState::Running)
    }

    /// The next step of a running recovery.
    fn advance(&mut self, row: &mut RecoveryRow, now: Timestamp, rows_max: u32) {
        let RecoveryRow { recovery, done_to } = row;
        if !self.webhooks.contains_key(&recovery.webhook) {
            recovery.state = RecoveryState::Abandoned { at: now };
            return;
        }
        let lost = self.lost(recovery.webhook);
        let mut left: Vec<_> = lost
            .filter(|(_, _, ended_at)| *ended_at <= recovery.created_at)
            .map(|(created_at, id, _)| (created_at, id))
            .filter(|(created_at, _)| *created_at >= recovery.since)
            .filter(|place| done_to.is_none_or(|done_to| *place > done_to))
            .collect();
        left.sort_unstable();
        let step = page(left.into_iter(), rows_max);
        for (_, id) in &step {
            self.rearm(self.deliveries[id].delivery.clone(), now);
        }
        recovery.rearmed += step.len() as u64;
        *done_to = step.last().copied().or(*done_to);
        if step.len() < rows_max as usize {
            recovery.state = RecoveryState::Done { at: now };
        }
    }
}
