//! Reading events, deliveries and attempts.

pub(crate) mod deliveries;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, params};
use stackbell_model::delivery::Attempt;
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::{
    DeliveryFilter, DeliveryOverview, DeliveryPage, History, StoredAttempt, StoredDelivery, StoredEvent,
};

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::delivery::delivery_tables;
use crate::rows::{Cursor, first, list, list_while};
use stackbell_store::rows::attempt::read_attempt;
use stackbell_store::rows::delivery::read_delivery;
use stackbell_store::rows::event::read_event;
use stackbell_store::rows::overview::read_overview;
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::{attempt_columns, delivery_columns, event_columns};

pub(crate) const FIND_EVENT: &str = concat!(
    "/* find_event */ SELECT ",
    event_columns!(),
    " FROM organizations o JOIN events e ON e.organization_number = o.number WHERE o.id = ?1 AND e.id = ?2"
);

/// `?2` is greater than every key on the first page.
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

/// Selects only rowids, so that the sort needs little memory. Each attempt is then read separately.
pub(crate) const DELIVERY_ATTEMPTS: &str = "/* delivery_attempts */ SELECT number FROM attempts \
    WHERE delivery_number = ?1 ORDER BY started_at DESC, number DESC LIMIT ?2";

pub(crate) const ATTEMPT: &str = concat!(
    "/* delivery_attempts.attempt */ SELECT ",
    attempt_columns!(),
    " FROM attempts a WHERE a.number = ?1"
);

pub(crate) const PAYLOAD: &str = "/* delivery.payload */ SELECT d.number, ifnull(d.body, e.payload) \
    FROM deliveries d LEFT JOIN events e ON e.number = d.event_number WHERE d.number = ?1";

/// Greater than every id.
const LAST: [u8; 17] = [0xff; 17];

#[async_trait]
impl History for SqliteStore {
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.read("find_event", move |connection| {
            first(connection, FIND_EVENT, [organization.bytes(), id.bytes()], "events", |cursor| {
                read_event(cursor)
            })
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
            list_while(connection, LIST_EVENTS, parameters, "events", |cursor| read_event(cursor), has_room)
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
            match first(connection, FIND_DELIVERY, ids, "deliveries", |cursor| read_delivery(cursor))? {
                Some(delivery) => Ok(Some(delivery)),
                None => first(connection, FIND_PING, ids, "deliveries", |cursor| read_delivery(cursor)),
            }
        })
        .await
    }

    async fn list_deliveries(
        &self,
        organization: OrganizationId,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: u32,
        looked_at_max: u32,
    ) -> Result<DeliveryPage, StoreError> {
        let filter = filter.clone();
        self.read("list_deliveries", move |connection| {
            deliveries::list_page(connection, organization, &filter, before, limit, looked_at_max)
        })
        .await
    }

    async fn delivery(
        &self,
        organization: OrganizationId,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryOverview, Bytes)>, StoreError> {
        self.read("delivery", move |connection| {
            let Some(number) = deliveries::find_number(connection, organization, id)? else {
                return Ok(None);
            };
            let overview = first(connection, deliveries::OVERVIEW, [number], "deliveries", |cursor| {
                read_overview(cursor)
            })?;
            let payload = first(connection, PAYLOAD, [number], "deliveries", |cursor| {
                cursor.skip("number")?;
                cursor
                    .decompressed_or_null("body")?
                    .ok_or_else(|| cursor.fault("body", &"neither the delivery nor its event has a payload"))
            })?;
            Ok(overview.zip(payload))
        })
        .await
    }

    async fn delivery_attempts(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.read("delivery_attempts", move |connection| {
            let Some(number) = deliveries::find_number(connection, organization, delivery)? else {
                return Ok(Vec::new());
            };
            delivery_attempts(connection, number, limit, bytes_max)
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

fn delivery_attempts(
    connection: &Connection,
    delivery_number: i64,
    limit: u32,
    bytes_max: u64,
) -> Result<Vec<Attempt>, Fault> {
    let parameters = params![delivery_number, limit];
    let numbers: Vec<i64> =
        list(connection, DELIVERY_ATTEMPTS, parameters, "attempts", |cursor| cursor.get("number"))?;
    let mut has_room = room(bytes_max, attempt_size);
    let mut attempts = Vec::new();
    for number in numbers {
        let attempt = first(connection, ATTEMPT, [number], "attempts", |cursor| read_attempt(cursor))?
            .ok_or_else(|| Fault::missing("attempts", &number))?;
        let goes_on = has_room(&attempt);
        attempts.push(attempt);
        if !goes_on {
            break;
        }
    }
    Ok(attempts)
}

fn attempt_size(attempt: &Attempt) -> u64 {
    let response =
        attempt.outcome.response().map_or(0, |response| response.headers.len() + response.body.len());
    (attempt.request_headers.len() + response) as u64
}

/// Returns a function that is true for a row until the total size reaches `bytes_max`.
fn room<T>(bytes_max: u64, size: impl Fn(&T) -> u64) -> impl FnMut(&T) -> bool {
    let mut bytes = 0;
    move |row| {
        bytes += size(row);
        bytes < bytes_max
    }
}
