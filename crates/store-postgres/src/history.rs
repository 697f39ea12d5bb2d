//! Reading events, deliveries and attempts.
//!
//! Queries name the partition key wherever it is known, so that PostgreSQL reads one day's partition only.
//! SQL limits the size of lists, because rows that were cut here would have been sent already.

mod deliveries;

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::delivery::Attempt;
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::{
    DeliveryFilter, DeliveryOverview, DeliveryPage, History, StoredAttempt, StoredDelivery, StoredEvent,
};
use stackbell_store::rows::attempt::read_attempt;
use stackbell_store::rows::delivery::read_delivery;
use stackbell_store::rows::event::read_event;
use stackbell_store::rows::overview::read_overview;
use stackbell_store::rows::{Columns as _, Id, integer};
use stackbell_store::{attempt_columns, delivery_columns, event_columns};
use uuid::Uuid;

use crate::PostgresStore;
use crate::history::deliveries::{event_of_each, overview_columns, overview_tables};
use crate::statement::statement;

statement!(FIND_EVENT = concat!(
    "/* find_event */ SELECT ",
    event_columns!(),
    " FROM organizations o JOIN event_ids i ON i.organization_number = o.number JOIN events e ON e.key = i.key \
     WHERE o.id = $1 AND i.id = $2"
); UUID, UUID);

/// The total size of the earlier rows in this order; null for the first row.
macro_rules! bytes_before {
    ($size:expr, $order:expr) => {
        concat!(
            "sum(",
            $size,
            ") OVER (ORDER BY ",
            $order,
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before"
        )
    };
}

macro_rules! attempt_size {
    () => {
        "octet_length(a.request_headers) + coalesce(octet_length(a.response_headers), 0) \
         + coalesce(octet_length(a.response_body), 0)"
    };
}

// Lengths are known without reading the bytes, so that only the bytes of selected rows are read.
statement!(LIST_EVENTS = concat!(
    "/* list_events */ SELECT ",
    event_columns!(),
    " FROM (SELECT e.*, ",
    bytes_before!("octet_length(e.payload)", "e.key DESC"),
    " FROM (SELECT e.* FROM events e \
         WHERE e.organization_number = (SELECT number FROM organizations WHERE id = $1) AND e.key < $2 \
         ORDER BY e.key DESC LIMIT $3) e) e \
     JOIN organizations o ON o.number = e.organization_number \
     WHERE coalesce(e.bytes_before < $4, true) ORDER BY e.key DESC"
); UUID, UUID, INT8, INT8);

statement!(FIND_DELIVERY = concat!(
    "/* find_delivery.event */ SELECT ",
    delivery_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     JOIN event_ids i ON i.organization_number = w.organization_number \
     JOIN deliveries d ON d.event_key = i.key AND d.webhook_number = w.number \
     JOIN events e ON e.key = i.key \
     WHERE w.id = $1 AND i.id = $2"
); UUID, UUID);

// A ping has always ended when it is stored.
statement!(FIND_PING = concat!(
    "/* find_delivery.ping */ SELECT ",
    delivery_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     JOIN deliveries_ended d ON d.webhook_number = w.number LEFT JOIN events e ON e.key = d.event_key \
     WHERE w.id = $1 AND d.ping_id = $2"
); UUID, UUID);

statement!(DELIVERY = concat!(
    "/* delivery */ SELECT coalesce(d.body, e.payload), ",
    overview_columns!(),
    " FROM organizations o JOIN deliveries d ON d.organization_number = o.number ",
    overview_tables!(),
    " WHERE o.id = $1 AND d.id = $2"
); UUID, UUID);

statement!(DELIVERY_ATTEMPTS = concat!(
    "/* delivery_attempts */ SELECT ",
    attempt_columns!(),
    " FROM (SELECT a.*, ",
    bytes_before!(attempt_size!(), "a.started_at DESC, a.number DESC"),
    " FROM attempts a WHERE a.delivery_id = $2 AND EXISTS (SELECT FROM organizations o \
         JOIN deliveries d ON d.organization_number = o.number WHERE o.id = $1 AND d.id = $2) \
         ORDER BY a.started_at DESC, a.number DESC LIMIT $3) a \
     WHERE coalesce(a.bytes_before < $4, true) ORDER BY a.started_at DESC, a.number DESC"
); UUID, UUID, INT8, INT8);

// Merges the newest attempts of the days, then selects those that fit, then reads these.
statement!(LIST_ATTEMPTS = concat!(
    "/* list_attempts */ WITH newest AS MATERIALIZED (SELECT a.delivery_id, a.number, ",
    bytes_before!(
        concat!(attempt_size!(), " + coalesce(octet_length(d.body), octet_length(e.payload))"),
        "a.started_at DESC, a.number DESC"
    ),
    " FROM (SELECT a.* FROM attempts a WHERE a.webhook_number = (SELECT number FROM webhooks WHERE id = $1) \
         ORDER BY a.started_at DESC, a.number DESC LIMIT $2) a \
         CROSS JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.id = a.delivery_id LIMIT 1) d ",
    event_of_each!(),
    ") SELECT ",
    attempt_columns!(),
    ", ",
    delivery_columns!(),
    " FROM newest n CROSS JOIN LATERAL (SELECT a.* FROM attempts a \
         WHERE a.delivery_id = n.delivery_id AND a.number = n.number LIMIT 1) a \
     CROSS JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.id = n.delivery_id LIMIT 1) d ",
    event_of_each!(),
    " JOIN webhooks w ON w.number = d.webhook_number JOIN organizations o ON o.number = w.organization_number \
     WHERE coalesce(n.bytes_before < $3, true) ORDER BY a.started_at DESC, a.number DESC"
); UUID, INT8, INT8);

#[async_trait]
impl History for PostgresStore {
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.read("find_event", |tx| async move {
            tx.first(&FIND_EVENT, &[&organization.uuid(), &id.uuid()], "events", |cursor| read_event(cursor))
                .await
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
        // No event has the greatest key.
        let before = before.as_ref().map_or(Uuid::max(), Id::uuid);
        self.read("list_events", |tx| async move {
            tx.list(
                &LIST_EVENTS,
                &[&organization.uuid(), &before, &i64::from(limit), &integer(bytes_max)],
                "events",
                |cursor| read_event(cursor),
            )
            .await
        })
        .await
    }

    async fn find_delivery(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        self.read("find_delivery", |tx| async move {
            let ids = [webhook.uuid(), event.uuid()];
            for statement in [&FIND_DELIVERY, &FIND_PING] {
                let found = tx
                    .first(statement, &[&ids[0], &ids[1]], "deliveries", |cursor| read_delivery(cursor))
                    .await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
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
        self.read("list_deliveries", |tx| async move {
            deliveries::list_page(&tx, organization, filter, before, limit, looked_at_max).await
        })
        .await
    }

    async fn delivery(
        &self,
        organization: OrganizationId,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryOverview, Bytes)>, StoreError> {
        self.read("delivery", |tx| async move {
            tx.first(&DELIVERY, &[&organization.uuid(), &id.uuid()], "deliveries", |cursor| {
                let payload = cursor.decompressed_or_null("body")?;
                let payload = payload.ok_or_else(|| {
                    cursor.fault("body", &"neither the delivery nor its event has a payload")
                })?;
                Ok((read_overview(cursor)?, payload))
            })
            .await
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
        self.read("delivery_attempts", |tx| async move {
            tx.list(
                &DELIVERY_ATTEMPTS,
                &[&organization.uuid(), &delivery.uuid(), &i64::from(limit), &integer(bytes_max)],
                "attempts",
                |cursor| read_attempt(cursor),
            )
            .await
        })
        .await
    }

    async fn list_attempts(
        &self,
        webhook: WebhookId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        self.read("list_attempts", |tx| async move {
            tx.list(
                &LIST_ATTEMPTS,
                &[&webhook.uuid(), &i64::from(limit), &integer(bytes_max)],
                "attempts",
                |cursor| {
                    let attempt = read_attempt(cursor)?;
                    Ok(StoredAttempt { delivery: read_delivery(cursor)?, attempt })
                },
            )
            .await
        })
        .await
    }
}
