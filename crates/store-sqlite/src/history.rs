//! Reading events, deliveries and attempts.

use async_trait::async_trait;
use rusqlite::params;
use stackbell_model::ids::{EventId, EventKey, OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::{History, StoredAttempt, StoredDelivery, StoredEvent};

use crate::SqliteStore;
use crate::rows::attempt::{attempt_columns, read_attempt};
use crate::rows::delivery::{delivery_columns, delivery_tables, read_delivery};
use crate::rows::event::{event_columns, read_event};
use crate::rows::{Cursor, Id, first, list_while};

pub(crate) const FIND_EVENT: &str = concat!(
    "/* find_event */ SELECT ",
    event_columns!(),
    " FROM organizations o JOIN events e ON e.organization_number = o.number WHERE o.id = ?1 AND e.id = ?2"
);

/// `?2` is beyond every key where there is no limit.
pub(crate) const LIST_EVENTS: &str = concat!(
    "/* list_events */ SELECT ",
    event_columns!(),
    " FROM organizations o JOIN events e ON e.organization_number = o.number \
     WHERE o.id = ?1 AND e.key < ?2 ORDER BY e.key DESC LIMIT ?3"
);

pub(crate) const FIND_DELIVERY: &str = concat!(
    "/* find_delivery.event */ SELECT ",
    delivery_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     JOIN events e ON e.organization_number = o.number AND e.id = ?2 \
     JOIN deliveries d ON d.webhook_number = w.number AND d.event_number = e.number \
     WHERE w.id = ?1"
);

pub(crate) const FIND_PING: &str = concat!(
    "/* find_delivery.ping */ SELECT ",
    delivery_columns!(),
    delivery_tables!(),
    "WHERE w.id = ?1 AND d.ping_id = ?2"
);

pub(crate) const LIST_ATTEMPTS: &str = concat!(
    "/* list_attempts */ SELECT ",
    attempt_columns!(),
    ", ",
    delivery_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     JOIN attempts a ON a.webhook_number = w.number \
     JOIN deliveries d ON d.number = a.delivery_number LEFT JOIN events e ON e.number = d.event_number \
     WHERE w.id = ?1 ORDER BY a.started_at DESC, a.number DESC LIMIT ?2"
);

/// Beyond every id.
const LAST: [u8; 17] = [0xff; 17];

#[async_trait]
impl History for SqliteStore {
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.read("find_event", move |connection| {
            first(connection, FIND_EVENT, [organization.bytes(), id.bytes()], "events", read_event)
        })
        .await
    }

    async fn list_events(
        &self,
        organization: OrganizationId,
        before: Option<EventKey>,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read("list_events", move |connection| {
            let before: &[u8] = before.as_ref().map_or(&LAST, |before| before.bytes());
            let parameters = params![organization.bytes(), before, limit];
            let has_room = room(bytes_max, StoredEvent::size);
            list_while(connection, LIST_EVENTS, parameters, "events", read_event, has_room)
        })
        .await
    }

    async fn find_delivery(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        self.read("find_delivery", move |connection| {
            let ids = [webhook.bytes(), event.bytes()];
            match first(connection, FIND_DELIVERY, ids, "deliveries", read_delivery)? {
                Some(delivery) => Ok(Some(delivery)),
                None => first(connection, FIND_PING, ids, "deliveries", read_delivery),
            }
        })
        .await
    }

    async fn list_attempts(
        &self,
        webhook: WebhookId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        self.read("list_attempts", move |connection| {
            let parameters = params![webhook.bytes(), limit];
            let read = |cursor: &mut Cursor<'_>| {
                let attempt = read_attempt(cursor)?;
                Ok(StoredAttempt { delivery: read_delivery(cursor)?, attempt })
            };
            let has_room = room(bytes_max, StoredAttempt::size);
            list_while(connection, LIST_ATTEMPTS, parameters, "attempts", read, has_room)
        })
        .await
    }
}

/// Whether there is room behind a row: until the sizes of all together reach `bytes_max`.
fn room<T>(bytes_max: u64, size: impl Fn(&T) -> u64) -> impl FnMut(&T) -> bool {
    let mut bytes = 0;
    move |row| {
        bytes += size(row);
        bytes < bytes_max
    }
}
