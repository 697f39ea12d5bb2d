//! Reading events, deliveries and attempts.

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::delivery::{Attempt, Delivery, Trigger};
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::{
    DeliveryFilter, DeliveryOverview, DeliveryPage, History, KindFilter, LastAttempt, StoredAttempt,
    StoredDelivery, StoredEvent, attempt_size,
};

use crate::MemoryStore;
use crate::tables::{AttemptRow, Tables, page_of_bytes};

#[async_trait]
impl History for MemoryStore {
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.lock();
        let key = tables.event_keys.get(&(organization, id));
        Ok(key.and_then(|key| tables.events.get(key)).cloned())
    }

    async fn list_events(
        &self,
        organization: OrganizationId,
        before: Option<EventKey>,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.lock();
        let newest_first = tables.events.values().rev();
        let older = newest_first
            .filter(|stored| stored.event.organization == organization)
            .filter(|stored| before.is_none_or(|before| stored.event.key < before));
        Ok(page_of_bytes(older.cloned(), limit, bytes_max, StoredEvent::size))
    }

    async fn find_delivery(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        let tables = self.lock();
        let row = tables
            .deliveries
            .values()
            .rev()
            .find(|row| row.delivery.webhook == webhook && row.delivery.event_id == event);
        Ok(row.map(|row| tables.stored_delivery(&row.delivery)))
    }

    async fn list_deliveries(
        &self,
        organization: OrganizationId,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: u32,
        looked_at_max: u32,
    ) -> Result<DeliveryPage, StoreError> {
        let tables = self.lock();
        let newest_first = tables.deliveries.values().rev().map(|row| &row.delivery);
        let older = newest_first
            .filter(|delivery| delivery.organization == organization)
            .filter(|delivery| before.is_none_or(|before| delivery.id < before));
        let mut page = DeliveryPage::default();
        for (looked_at, delivery) in (0..).zip(older) {
            if page.deliveries.len() >= limit as usize || looked_at >= looked_at_max.max(1) {
                return Ok(page);
            }
            if tables.passes(delivery, filter) {
                page.deliveries.push(tables.overview(delivery));
            }
            page.next = Some(delivery.id);
        }
        Ok(DeliveryPage { next: None, ..page })
    }

    async fn delivery(
        &self,
        organization: OrganizationId,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryOverview, Bytes)>, StoreError> {
        let tables = self.lock();
        let found = tables.delivery_in(organization, id);
        Ok(found.map(|delivery| (tables.overview(delivery), tables.payload(delivery))))
    }

    async fn delivery_attempts(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<Attempt>, StoreError> {
        let tables = self.lock();
        let Some(delivery) = tables.delivery_in(organization, delivery) else { return Ok(Vec::new()) };
        let attempts = tables.attempts_at(delivery).map(|row| row.attempt.clone());
        Ok(page_of_bytes(attempts, limit, bytes_max, attempt_size))
    }

    async fn list_attempts(
        &self,
        webhook: WebhookId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        let tables = self.lock();
        let newest_first = tables.attempts_of(webhook).map(|row| StoredAttempt {
            delivery: tables.stored_delivery(&tables.deliveries[&row.delivery].delivery),
            attempt: row.attempt.clone(),
        });
        Ok(page_of_bytes(newest_first, limit, bytes_max, StoredAttempt::size))
    }
}

impl Tables {
    fn delivery_in(&self, organization: OrganizationId, id: DeliveryId) -> Option<&Delivery> {
        let found = self.deliveries.get(&id).map(|row| &row.delivery);
        found.filter(|delivery| delivery.organization == organization)
    }

    fn passes(&self, delivery: &Delivery, filter: &DeliveryFilter) -> bool {
        let DeliveryFilter { webhook, subject, kind, state, from, to } = filter;
        webhook.is_none_or(|webhook| delivery.webhook == webhook)
            && subject
                .as_ref()
                .is_none_or(|wanted| self.event_of(delivery).is_some_and(|event| event.subject == *wanted))
            && kind.is_none_or(|kind| kind_of(delivery) == kind)
            && state.is_none_or(|state| delivery.state.kind() == state)
            && from.is_none_or(|from| delivery.created_at >= from)
            && to.is_none_or(|to| delivery.created_at < to)
    }

    fn overview(&self, delivery: &Delivery) -> DeliveryOverview {
        let deleted = self.deleted_webhooks.get(&delivery.webhook).map(|deleted| &deleted.webhook);
        let webhook = deleted.unwrap_or_else(|| &self.webhooks[&delivery.webhook]);
        let attempts = self.attempts_at(delivery).count();
        DeliveryOverview {
            id: delivery.id,
            webhook: delivery.webhook,
            webhook_scope: webhook.scope.clone(),
            webhook_name: webhook.name.clone(),
            is_webhook_deleted: deleted.is_some(),
            trigger: delivery.trigger,
            event_id: delivery.event_id,
            subject: self.event_of(delivery).map(|event| event.subject.clone()),
            format: delivery.format,
            created_at: delivery.created_at,
            rearmed_at: delivery.rearmed_at,
            attempts_spent: delivery.attempts_spent,
            state: delivery.state.clone(),
            attempts: u32::try_from(attempts).expect("attempts are fewer than 2^32"),
            last_attempt: self.attempts_at(delivery).next().map(|row| in_short(&row.attempt)),
        }
    }

    /// A delivery's attempts, newest first.
    fn attempts_at(&self, delivery: &Delivery) -> impl Iterator<Item = &AttemptRow> {
        let id = delivery.id;
        self.attempts_of(delivery.webhook).filter(move |row| row.delivery == id)
    }
}

fn kind_of(delivery: &Delivery) -> KindFilter {
    match delivery.trigger {
        Trigger::Event { kind, .. } => KindFilter::Event(kind),
        Trigger::Ping => KindFilter::Ping,
    }
}

fn in_short(attempt: &Attempt) -> LastAttempt {
    LastAttempt {
        started_at: attempt.started_at,
        duration: attempt.duration,
        status: attempt.outcome.status(),
        reason: attempt.outcome.reason(),
    }
}
