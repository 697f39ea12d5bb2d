//! Leasing. It runs on the writer, because only the writer has the leases, and it writes nothing.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{
    HeldDelivery, LaneDue, LaneRequest, Leased, LeasedDelivery, LeasedLane, Queue, Wanted,
};

use crate::SqliteStore;
use crate::error::Fault;
use crate::instance::is_sending_held;
use crate::leases::Leases;
use crate::rows::delivery::delivery_tables;
use crate::rows::{first, list};
use stackbell_store::rows::delivery::read_delivery;
use stackbell_store::rows::webhook::read_webhook;
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::{delivery_columns, webhook_columns};

pub(crate) const FIND_WEBHOOK: &str = concat!(
    "/* lease_deliveries.webhook */ SELECT w.number, ",
    webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE w.id = ?1 AND w.deleted_at IS NULL"
);

/// Reads the queue's index only. The caller stops as soon as the remaining rows do not matter.
pub(crate) const LANE: &str = "/* lease_deliveries.lane */ SELECT number, due_at FROM deliveries \
    WHERE webhook_number = ?1 AND state = 'pending' ORDER BY due_at, id";

pub(crate) const FIND_DELIVERY: &str = concat!(
    "/* lease_deliveries.delivery */ SELECT ",
    delivery_columns!(),
    delivery_tables!(),
    "WHERE d.number = ?1"
);

pub(crate) const FIND_HELD: &str = "/* release_deliveries.find */ SELECT d.number FROM webhooks w \
    JOIN deliveries d ON d.webhook_number = w.number WHERE w.id = ?1 AND d.id = ?2";

/// Goes from lane to lane through the queue's index: one step for each lane with pending deliveries, whatever the number of
/// webhooks. Lanes of deleted webhooks are skipped and do not count.
pub(crate) const DUE_LANES: &str = "/* due_lanes */ WITH RECURSIVE lane (number, webhook_id, organization_number, found) AS ( \
        SELECT ifnull((SELECT number FROM webhooks WHERE id = ?1), 0), NULL, NULL, 0 \
        UNION ALL \
        SELECT next.number, w.id, w.organization_number, lane.found + (w.id IS NOT NULL) \
        FROM lane JOIN webhooks next ON next.number = (SELECT p.webhook_number FROM deliveries p \
            WHERE p.state = 'pending' AND p.webhook_number > lane.number ORDER BY p.webhook_number LIMIT 1) \
        LEFT JOIN webhooks w ON w.number = next.number AND w.deleted_at IS NULL \
        WHERE lane.found < ?2) \
    SELECT lane.webhook_id, o.id, (SELECT MIN(p.due_at) FROM deliveries p \
        WHERE p.webhook_number = lane.number AND p.state = 'pending') AS due_at \
    FROM lane JOIN organizations o ON o.number = lane.organization_number \
    WHERE lane.webhook_id IS NOT NULL ORDER BY lane.number";

#[async_trait]
impl Queue for SqliteStore {
    async fn lease_deliveries(
        &self,
        lanes: &[LaneRequest],
        now: Timestamp,
        lease: Lease,
    ) -> Result<Leased, StoreError> {
        let lanes = lanes.to_vec();
        self.write("lease_deliveries", move |connection, leases| {
            let sending_held = !lanes.is_empty() && is_sending_held(connection)?;
            let lease = |request| lease_lane(connection, leases, request, now, lease);
            Ok(Leased { lanes: lanes.iter().map(lease).collect::<Result<_, _>>()?, sending_held })
        })
        .await
    }

    async fn release_deliveries(&self, held: &[HeldDelivery]) -> Result<(), StoreError> {
        let held = held.to_vec();
        self.write("release_deliveries", move |connection, leases| {
            held.iter().try_for_each(|held| release(connection, leases, held))
        })
        .await
    }

    async fn due_lanes(&self, after: Option<WebhookId>, limit: u32) -> Result<Vec<LaneDue>, StoreError> {
        self.read("due_lanes", move |connection| {
            // The empty id is less than every id.
            let after: &[u8] = after.as_ref().map_or(&[], |after| after.bytes());
            list(connection, DUE_LANES, params![after, limit], "webhooks", |cursor| {
                Ok(LaneDue {
                    webhook: cursor.id("id")?,
                    organization: cursor.id("organization_number")?,
                    next_due: cursor.time("due_at")?,
                })
            })
        })
        .await
    }
}

fn release(connection: &Connection, leases: &mut Leases, held: &HeldDelivery) -> Result<(), Fault> {
    let parameters = params![held.webhook.bytes(), held.delivery.bytes()];
    let number =
        first(connection, FIND_HELD, parameters, "deliveries", |cursor| cursor.get::<i64>("number"))?;
    if let Some(number) = number
        && leases.get(number).is_some_and(|current| current.token == held.lease.token)
    {
        leases.end(number);
    }
    Ok(())
}

fn lease_lane(
    connection: &Connection,
    leases: &mut Leases,
    request: &LaneRequest,
    now: Timestamp,
    lease: Lease,
) -> Result<LeasedLane, Fault> {
    let found = first(connection, FIND_WEBHOOK, [request.webhook.bytes()], "webhooks", |cursor| {
        Ok((cursor.get::<i64>("number")?, read_webhook(cursor)?))
    })?;
    let Some((number, webhook)) = found else {
        return Ok(LeasedLane { webhook: None, deliveries: Vec::new(), next_due: None });
    };
    let Choice { taken, next_due } = choose(connection, leases, number, &webhook, request, now)?;
    let mut deliveries = Vec::with_capacity(taken.len());
    for number in taken {
        let stored =
            first(connection, FIND_DELIVERY, [number], "deliveries", |cursor| read_delivery(cursor))?;
        let stored = stored.ok_or_else(|| Fault::missing("deliveries", &number))?;
        leases.grant(number, lease);
        deliveries.push(LeasedDelivery { delivery: stored.delivery, payload: stored.payload });
    }
    Ok(LeasedLane { webhook: Some(webhook), deliveries, next_due })
}

/// The rowids of the deliveries to lease from a lane, and the time when the next of the others is due.
struct Choice {
    taken: Vec<i64>,
    next_due: Option<Timestamp>,
}

fn choose(
    connection: &Connection,
    leases: &Leases,
    webhook_number: i64,
    webhook: &Webhook,
    request: &LaneRequest,
    now: Timestamp,
) -> Result<Choice, Fault> {
    let Wanted { count_max, due_max } = request.wanted(webhook, now);
    let count_max = usize::try_from(count_max).unwrap_or(usize::MAX);
    let mut choice = Choice { taken: Vec::new(), next_due: None };
    let mut statement = connection.prepare_cached(LANE)?;
    let mut rows = statement.query([webhook_number])?;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let due_at = Timestamp::from_millis(row.get(1)?);
        let held_until = leases.held_until(number, now);
        let may_take = choice.taken.len() < count_max && due_max.is_none_or(|max| due_at <= max);
        if held_until.is_none() && may_take {
            choice.taken.push(number);
            continue;
        }
        let free_at = held_until.map_or(due_at, |until| until.max(due_at));
        choice.next_due = Some(choice.next_due.map_or(free_at, |earliest| earliest.min(free_at)));
        // The following deliveries are due later, and none of them will be taken.
        if held_until.is_none() {
            break;
        }
    }
    Ok(choice)
}
