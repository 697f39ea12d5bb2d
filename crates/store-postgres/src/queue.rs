//! Leasing by several nodes.
//!
//! A lease is two columns of the delivery, and uses the database's clock. Nodes that lease from one lane at the same time skip
//! each other's rows (`SKIP LOCKED`) and do not wait.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{try_join, try_join3};
use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::commit::Lease;
use stackbell_store::queue::{
    HeldDelivery, LaneDue, LaneMode, LaneRequest, Leased, LeasedDelivery, LeasedLane, Queue, Wanted,
};
use stackbell_store::rows::delivery::read_delivery;
use stackbell_store::rows::webhook::read_webhook;
use stackbell_store::rows::{Columns as _, Id as _};
use stackbell_store::{delivery_columns, webhook_columns};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::error::Fault;
use crate::instance::{is_sending_held, lock_sending};
use crate::session::{Access, Transaction};
use crate::statement::statement;
use crate::{PostgresStore, lease_lasts};

statement!(FIND_WEBHOOKS = concat!(
    "/* lease_deliveries.webhooks */ SELECT w.number, ", webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE w.id = ANY($1) AND w.deleted_at IS NULL"); UUID_ARRAY);

// The time for which another node still has the probe; null if no node has it.
statement!(HOLD_WEBHOOKS = "/* lease_deliveries.hold */ SELECT w.number, \
    CASE WHEN w.probe_leased_until > clock.now THEN w.probe_leased_until - clock.now END AS left_ms \
    FROM (SELECT coalesce($2::bigint, now_ms()) AS now) AS clock, webhooks w \
    WHERE w.id = ANY($1) AND w.deleted_at IS NULL ORDER BY w.number FOR NO KEY UPDATE OF w"; UUID_ARRAY, INT8);

statement!(LEASE_PROBES = "/* lease_deliveries.probes */ UPDATE webhooks \
    SET probe_leased_until = coalesce($2::bigint, now_ms()) + $3 \
    WHERE number = ANY($1) AND suspended_since IS NOT NULL"; INT8_ARRAY, INT8, INT8);

statement!(LEASE = concat!(
    "/* lease_deliveries.lease */ WITH clock AS MATERIALIZED (SELECT coalesce($4::bigint, now_ms()) AS now), \
     picked AS MATERIALIZED (SELECT q.id FROM clock, \
        unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS lane (webhook_number, count_max, due_max) \
        CROSS JOIN LATERAL (SELECT id FROM deliveries_pending p \
            WHERE p.webhook_number = lane.webhook_number AND p.due_at <= lane.due_max \
                AND (p.lease_until IS NULL OR p.lease_until <= clock.now) \
            ORDER BY p.due_at, p.id LIMIT lane.count_max FOR UPDATE SKIP LOCKED) q), \
     d AS (UPDATE deliveries_pending p SET lease_token = $5, lease_until = clock.now + $6 FROM clock, picked \
        WHERE p.id = picked.id RETURNING p.*) \
     SELECT d.due_at, d.webhook_number, ", delivery_columns!(),
    " FROM d JOIN webhooks w ON w.number = d.webhook_number JOIN organizations o ON o.number = d.organization_number \
     LEFT JOIN LATERAL (SELECT * FROM events WHERE key = d.event_key LIMIT 1) e ON true ORDER BY d.due_at, d.id");
    INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8, UUID, INT8);

// When the next delivery of each lane can be leased: the first free one, or an earlier one whose lease expires first. Leased ones
// are not read if the first free one is due already.
// Deadlines are returned as the remaining time, which the caller adds to the time of its own clock.
statement!(NEXT_DUE = "/* lease_deliveries.next_due */ WITH clock AS MATERIALIZED (SELECT coalesce($2::bigint, now_ms()) AS now) \
    SELECT lane.webhook_number, free.due_at, held.due_at, held.left_ms FROM clock, unnest($1::bigint[]) AS lane (webhook_number) \
    LEFT JOIN LATERAL (SELECT p.due_at FROM deliveries_pending p \
        WHERE p.webhook_number = lane.webhook_number AND (p.lease_until IS NULL OR p.lease_until <= clock.now) \
        ORDER BY p.due_at, p.id LIMIT 1) free ON true \
    LEFT JOIN LATERAL (SELECT p.due_at, p.lease_until - clock.now AS left_ms FROM deliveries_pending p \
        WHERE p.webhook_number = lane.webhook_number AND p.lease_until > clock.now \
            AND p.due_at <= coalesce(free.due_at, p.due_at) AND coalesce(free.due_at > $3, true) \
        ORDER BY greatest(p.due_at - $3, p.lease_until - clock.now) LIMIT 1) held ON true";
    INT8_ARRAY, INT8, INT8);

// A delivery that another transaction is recording or cancelling needs no release.
statement!(RELEASE = "/* release_deliveries */ WITH picked AS MATERIALIZED ( \
        SELECT p.id FROM unnest($1::uuid[], $2::uuid[]) AS held (id, token) \
        JOIN deliveries_pending p ON p.id = held.id AND p.lease_token = held.token FOR UPDATE OF p SKIP LOCKED) \
    UPDATE deliveries_pending p SET lease_token = NULL, lease_until = NULL FROM picked WHERE p.id = picked.id";
    UUID_ARRAY, UUID_ARRAY);

// Goes from lane to lane through the queue's index: one step for each lane with pending deliveries, whatever the number of
// webhooks. Lanes of deleted webhooks are skipped and do not count.
statement!(DUE_LANES = "/* due_lanes */ WITH RECURSIVE lane (number, due_at, webhook_id, organization_number, found) AS ( \
        SELECT coalesce((SELECT number FROM webhooks WHERE id = $1), 0), NULL::bigint, NULL::uuid, NULL::bigint, 0::bigint \
        UNION ALL \
        SELECT next.webhook_number, next.due_at, w.id, w.organization_number, lane.found + (w.id IS NOT NULL)::int \
        FROM lane CROSS JOIN LATERAL (SELECT p.webhook_number, p.due_at FROM deliveries_pending p \
            WHERE p.webhook_number > lane.number ORDER BY p.webhook_number, p.due_at, p.id LIMIT 1) next \
        LEFT JOIN webhooks w ON w.number = next.webhook_number AND w.deleted_at IS NULL \
        WHERE lane.found < $2) \
    SELECT lane.webhook_id, o.id, lane.due_at FROM lane JOIN organizations o ON o.number = lane.organization_number \
    WHERE lane.webhook_id IS NOT NULL ORDER BY lane.number"; UUID, INT8);

/// The requests for lanes whose webhooks exist, as columns.
#[derive(Default)]
struct Lanes {
    webhook_numbers: Vec<i64>,
    counts_max: Vec<i64>,
    due_max: Vec<i64>,
}

#[async_trait]
impl Queue for PostgresStore {
    async fn lease_deliveries(
        &self,
        lanes: &[LaneRequest],
        now: Timestamp,
        lease: Lease,
    ) -> Result<Leased, StoreError> {
        if lanes.is_empty() {
            return Ok(Leased::default());
        }
        let (clock, lasts) = (self.lease_clock.now(now), lease_lasts(lease, now));
        let leased = self.engine_pool.run(Access::Write, "lease_deliveries", |tx| async move {
            lease_lanes(&tx, lanes, now, clock, (lease, lasts)).await
        });
        leased.await
    }

    async fn release_deliveries(&self, held: &[HeldDelivery]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = held.iter().map(|held| held.delivery.uuid()).collect();
        let tokens: Vec<Uuid> = held.iter().map(|held| held.lease.token.uuid()).collect();
        let (ids, tokens) = (&ids, &tokens);
        let released = self.engine_pool.run(Access::Write, "release_deliveries", |tx| async move {
            tx.change(&RELEASE, &[ids, tokens]).await.map(|_| ())
        });
        released.await
    }

    async fn due_lanes(&self, after: Option<WebhookId>, limit: u32) -> Result<Vec<LaneDue>, StoreError> {
        let after = after.map_or(Uuid::nil(), |after| after.uuid());
        let lanes = self.engine_pool.run(Access::Read, "due_lanes", |tx| async move {
            tx.list(&DUE_LANES, &[&after, &i64::from(limit)], "webhooks", |cursor| {
                Ok(LaneDue {
                    webhook: cursor.id("id")?,
                    organization: cursor.id("organization_number")?,
                    next_due: cursor.time("due_at")?,
                })
            })
            .await
        });
        lanes.await
    }
}

async fn lease_lanes(
    tx: &Transaction,
    requests: &[LaneRequest],
    now: Timestamp,
    clock: Option<i64>,
    (lease, lasts): (Lease, i64),
) -> Result<Leased, Fault> {
    let probed = hold_probed(tx, requests, clock).await?;
    let ids: Vec<Uuid> = requests.iter().map(|request| request.webhook.uuid()).collect();
    let parameters: &[&(dyn ToSql + Sync)] = &[&ids];
    let webhooks = tx.list(&FIND_WEBHOOKS, parameters, "webhooks", |cursor| {
        let number = cursor.integer("number")?;
        let webhook = read_webhook(cursor)?;
        Ok((webhook.id, (number, webhook)))
    });
    let ((), webhooks) = try_join(lock_sending(tx), webhooks).await?;
    let webhooks: HashMap<WebhookId, (i64, Webhook)> = webhooks.into_iter().collect();
    let lanes = choose(requests, &webhooks, &probed, now);
    let (mut leased, next_due, sending_held) = try_join3(
        lease_chosen(tx, &lanes, clock, lease, lasts),
        find_next_due(tx, &lanes, now, clock),
        is_sending_held(tx),
    )
    .await?;
    lease_probes(tx, &leased, &probed, clock, lasts).await?;
    let lane = |request: &LaneRequest| {
        let Some((number, webhook)) = webhooks.get(&request.webhook) else {
            return LeasedLane { webhook: None, deliveries: Vec::new(), next_due: None };
        };
        // A node that may not probe yet waits until the other node's lease of the probe ends.
        let not_before = probed.get(number).copied().flatten().map(|left| now.after(left));
        let next_due =
            next_due.get(number).copied().flatten().map(|due| not_before.map_or(due, |at| due.max(at)));
        let deliveries = leased.remove(number).unwrap_or_default();
        LeasedLane { webhook: Some(webhook.clone()), deliveries, next_due }
    };
    Ok(Leased { lanes: requests.iter().map(lane).collect(), sending_held })
}

/// Locks the webhooks to probe until the end of the transaction. Returns for each number how long another node has the probe. If
/// several nodes probe at the same time, the second one finds the first one's lease.
async fn hold_probed(
    tx: &Transaction,
    requests: &[LaneRequest],
    clock: Option<i64>,
) -> Result<HashMap<i64, Option<Duration>>, Fault> {
    let probes = requests.iter().filter(|request| request.mode == LaneMode::Probe);
    let ids: Vec<Uuid> = probes.map(|request| request.webhook.uuid()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let held = tx
        .list(&HOLD_WEBHOOKS, &[&ids, &clock], "webhooks", |cursor| {
            Ok((cursor.integer("number")?, cursor.duration_or_null("probe_leased_until")?))
        })
        .await?;
    Ok(held.into_iter().collect())
}

async fn lease_probes(
    tx: &Transaction,
    leased: &HashMap<i64, Vec<LeasedDelivery>>,
    probed: &HashMap<i64, Option<Duration>>,
    clock: Option<i64>,
    lasts: i64,
) -> Result<(), Fault> {
    let numbers: Vec<i64> = probed.keys().copied().filter(|number| leased.contains_key(number)).collect();
    if !numbers.is_empty() {
        tx.change(&LEASE_PROBES, &[&numbers, &clock, &lasts]).await?;
    }
    Ok(())
}

fn choose(
    requests: &[LaneRequest],
    webhooks: &HashMap<WebhookId, (i64, Webhook)>,
    probed: &HashMap<i64, Option<Duration>>,
    now: Timestamp,
) -> Lanes {
    let mut lanes = Lanes::default();
    for request in requests {
        let Some((number, webhook)) = webhooks.get(&request.webhook) else { continue };
        let is_others_probe = probed.get(number).is_some_and(Option::is_some);
        let Wanted { count_max, due_max } = request.wanted(webhook, now);
        lanes.webhook_numbers.push(*number);
        lanes.counts_max.push(if is_others_probe { 0 } else { i64::from(count_max) });
        lanes.due_max.push(due_max.map_or(i64::MAX, Timestamp::as_millis));
    }
    lanes
}

async fn lease_chosen(
    tx: &Transaction,
    lanes: &Lanes,
    clock: Option<i64>,
    lease: Lease,
    lasts: i64,
) -> Result<HashMap<i64, Vec<LeasedDelivery>>, Fault> {
    let Lanes { webhook_numbers, counts_max, due_max } = lanes;
    let leased = tx
        .list(
            &LEASE,
            &[webhook_numbers, counts_max, due_max, &clock, &lease.token.uuid(), &lasts],
            "deliveries",
            |cursor| {
                cursor.skip("due_at")?;
                let number = cursor.integer("webhook_number")?;
                let stored = read_delivery(cursor)?;
                Ok((number, LeasedDelivery { delivery: stored.delivery, payload: stored.payload }))
            },
        )
        .await?;
    let mut by_lane: HashMap<i64, Vec<LeasedDelivery>> = HashMap::new();
    for (number, delivery) in leased {
        by_lane.entry(number).or_default().push(delivery);
    }
    Ok(by_lane)
}

async fn find_next_due(
    tx: &Transaction,
    lanes: &Lanes,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<HashMap<i64, Option<Timestamp>>, Fault> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&lanes.webhook_numbers, &clock, &now.as_millis()];
    let next_due = tx
        .list(&NEXT_DUE, parameters, "deliveries", |cursor| {
            let number = cursor.integer("webhook_number")?;
            let free = cursor.time_or_null("due_at")?;
            let held_due = cursor.time_or_null("due_at")?;
            let left = cursor.duration_or_null("lease_until")?;
            let held = held_due.zip(left).map(|(due, left)| now.after(left).max(due));
            Ok((number, [free, held].into_iter().flatten().min()))
        })
        .await?;
    Ok(next_due.into_iter().collect())
}
