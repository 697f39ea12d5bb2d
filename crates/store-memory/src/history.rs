//! Reading events, deliveries and attempts.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{EventId, EventKey, OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::{History, StoredAttempt, StoredDelivery, StoredEvent};

use crate::MemoryStore;
use crate::tables::page_of_bytes;

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

    async fn list_attempts(
        &self,
        webhook: WebhookId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        let tables = self.lock();
        let first = (webhook, Timestamp::from_millis(i64::MIN), u64::MIN);
        let last = (webhook, Timestamp::from_millis(i64::MAX), u64::MAX);
        let newest_first = tables.attempts.range(first..=last).rev().map(|(_, row)| StoredAttempt {
            delivery: tables.stored_delivery(&tables.deliveries[&row.delivery].delivery),
            attempt: row.attempt.clone(),
        });
        Ok(page_of_bytes(newest_first, limit, bytes_max, StoredAttempt::size))
    }
}
