//! Recording of attempts.
//!
//! Attempts of leased deliveries are recorded together, in one statement. Attempts that a user requested are recorded one by one,
//! in the order of the batch, because they are rare and may concern the same deliveries.

use std::collections::HashSet;

use futures_util::future::try_join;
use stackbell_model::delivery::{Delivery, State, StateKind};
use stackbell_model::ids::{DeliveryId, LeaseToken};
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject};
use stackbell_store::decision::attempt::{Effect, Transition, late, leased, on_demand};
use stackbell_store::rows::delivery::state_columns;
use stackbell_store::rows::{Columns as _, Id as _};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::attempt_rows::AttemptRows;
use super::health::{Recorded, follow_health};
use super::length;
use super::lookups::{BatchLookups, WebhookRow};
use crate::error::Fault;
use crate::ledger::Ledger;
use crate::session::{Transaction, find_twice};
use crate::statement::statement;

statement!(FOLLOW = "/* commit.follow */ WITH record AS ( \
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], \
            $7::bigint[], $8::text[], $9::bigint[]) \
            AS r (number, id, webhook_number, lease_token, state, due_at, finished_at, fail_reason, spent)), \
    gone AS (DELETE FROM deliveries_pending d USING record r \
        WHERE r.state <> 'pending' AND d.id = r.id AND d.webhook_number = r.webhook_number \
            AND d.lease_token = r.lease_token \
        RETURNING r.number, d.id, d.organization_number, d.webhook_number, d.event_key, d.format, d.created_at, \
            d.rearmed_at, d.attempts_spent, r.state, r.finished_at, r.fail_reason, d.body), \
    ended AS (INSERT INTO deliveries_ended (id, organization_number, webhook_number, event_key, format, created_at, \
            rearmed_at, attempts_spent, state, finished_at, fail_reason, body) \
        SELECT id, organization_number, webhook_number, event_key, format, created_at, rearmed_at, attempts_spent, \
            state, finished_at, fail_reason, body FROM gone), \
    kept AS (UPDATE deliveries_pending d SET due_at = r.due_at, attempts_spent = d.attempts_spent + r.spent, \
            lease_token = NULL, lease_until = NULL FROM record r \
        WHERE r.state = 'pending' AND d.id = r.id AND d.webhook_number = r.webhook_number \
            AND d.lease_token = r.lease_token \
        RETURNING r.number) \
    SELECT number FROM gone UNION ALL SELECT number FROM kept";
    INT8_ARRAY, UUID_ARRAY, INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY, INT8_ARRAY);

statement!(FIND_REDELIVERED = "/* commit.find_redelivered */ SELECT id, state FROM deliveries \
    WHERE id = $1 AND webhook_number = $2 FOR UPDATE"; UUID, INT8);

statement!(SUCCEED = "/* commit.succeed */ UPDATE deliveries SET state = 'succeeded', due_at = NULL, finished_at = $3, \
    fail_reason = NULL, cancel_reason = NULL, cancelled_by = NULL, lease_token = NULL, lease_until = NULL \
    WHERE id = $1 AND webhook_number = $2"; UUID, INT8, INT8);

statement!(CANCEL = "/* commit.cancel */ UPDATE deliveries SET state = 'cancelled', due_at = NULL, finished_at = $4, \
    cancel_reason = $5, cancelled_by = $6, lease_token = NULL, lease_until = NULL \
    WHERE id = $1 AND webhook_number = $2 AND lease_token = $3"; UUID, INT8, UUID, INT8, TEXT, TEXT);

statement!(DELETED_BY =
    "/* commit.deleted_by */ SELECT number, deleted_by FROM webhooks WHERE number = $1"; INT8);

statement!(FIND_ATTEMPT = "/* commit.find_attempt */ SELECT number FROM attempts \
    WHERE delivery_id = $1 AND started_at = $2 AND trigger = $3"; UUID, INT8, TEXT);

statement!(FIND_PING = "/* commit.find_ping */ SELECT id FROM deliveries_ended WHERE id = $1"; UUID);

statement!(INSERT_PING = "/* commit.insert_ping */ INSERT INTO deliveries (id, organization_number, webhook_number, \
    ping_id, format, created_at, attempts_spent, state, finished_at, fail_reason, cancel_reason, cancelled_by, body) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    UUID, INT8, INT8, UUID, TEXT, INT8, INT8, TEXT, INT8, TEXT, TEXT, TEXT, BYTEA);

/// A leased delivery after its attempt.
struct LeasedRecord {
    /// The position of the record in the batch.
    index: usize,
    delivery: DeliveryId,
    token: LeaseToken,
    transition: Transition,
}

pub(super) struct Recorder<'batch> {
    lookups: &'batch BatchLookups,
    ledger: &'batch mut Ledger,
    recorded: Vec<Recorded<'batch>>,
}

impl<'batch> Recorder<'batch> {
    pub(super) fn new(lookups: &'batch BatchLookups, ledger: &'batch mut Ledger) -> Self {
        Self { lookups, ledger, recorded: Vec::new() }
    }

    /// Records the attempts in the order of the batch.
    pub(super) async fn record(
        &mut self,
        tx: &Transaction,
        records: &'batch [AttemptRecord],
    ) -> Result<(), Fault> {
        let mut together: Vec<LeasedRecord> = Vec::new();
        let mut deliveries = HashSet::new();
        for (index, record) in records.iter().enumerate() {
            let Some(webhook) = self.lookups.webhooks.get(&record.webhook) else { continue };
            if let AttemptSubject::Leased { delivery, token, next } = &record.subject
                && !webhook.is_deleted
                && deliveries.insert(*delivery)
            {
                let transition = leased(*next, &record.attempt, None);
                together.push(LeasedRecord { index, delivery: *delivery, token: *token, transition });
                continue;
            }
            self.follow(tx, std::mem::take(&mut together), records).await?;
            deliveries.clear();
            self.record_one(tx, index, record, webhook, records).await?;
        }
        self.follow(tx, together, records).await
    }

    async fn record_one(
        &mut self,
        tx: &Transaction,
        index: usize,
        record: &'batch AttemptRecord,
        webhook: &WebhookRow,
        records: &'batch [AttemptRecord],
    ) -> Result<(), Fault> {
        match &record.subject {
            AttemptSubject::Leased { delivery, token, next } => {
                let deleted_by = if webhook.is_deleted { Some(deleted_by(tx, webhook).await?) } else { None };
                let transition = leased(*next, &record.attempt, deleted_by.as_deref());
                let one = LeasedRecord { index, delivery: *delivery, token: *token, transition };
                if matches!(one.transition.to, State::Cancelled { .. }) {
                    self.cancel(tx, one, record, webhook).await
                } else {
                    self.follow(tx, vec![one], records).await
                }
            }
            AttemptSubject::Redelivery { delivery } => {
                let Some(state) = find_state(tx, webhook, *delivery).await? else { return Ok(()) };
                let effect = on_demand(state, &record.attempt);
                self.write_effect(tx, webhook, index, *delivery, record, effect).await
            }
            AttemptSubject::Ping(delivery) => {
                if self.insert_ping(tx, webhook, delivery).await? {
                    self.note(index, delivery.id, record, None);
                }
                Ok(())
            }
        }
    }

    fn note(
        &mut self,
        index: usize,
        delivery: DeliveryId,
        record: &'batch AttemptRecord,
        ended: Option<State>,
    ) {
        self.recorded.push(Recorded { index, delivery, record, ended });
    }

    /// Writes the transitions of leased deliveries. Each delivery is in `leased` once. An attempt whose lease is lost is late.
    async fn follow(
        &mut self,
        tx: &Transaction,
        leased: Vec<LeasedRecord>,
        records: &'batch [AttemptRecord],
    ) -> Result<(), Fault> {
        if leased.is_empty() {
            return Ok(());
        }
        let webhooks: Vec<WebhookRow> =
            leased.iter().map(|one| self.lookups.webhooks[&records[one.index].webhook]).collect();
        let columns: Vec<_> = leased.iter().map(|one| state_columns(&one.transition.to)).collect();
        let numbers: Vec<i64> = (0..).take(leased.len()).collect();
        let ids: Vec<Uuid> = leased.iter().map(|one| one.delivery.uuid()).collect();
        let webhook_numbers: Vec<i64> = webhooks.iter().map(|webhook| webhook.number).collect();
        let tokens: Vec<Uuid> = leased.iter().map(|one| one.token.uuid()).collect();
        let states: Vec<&str> = columns.iter().map(|columns| columns.state).collect();
        let due_at: Vec<Option<i64>> = columns.iter().map(|columns| columns.due_at).collect();
        let finished_at: Vec<Option<i64>> = columns.iter().map(|columns| columns.finished_at).collect();
        let fail_reasons: Vec<Option<&str>> = columns.iter().map(|columns| columns.fail_reason).collect();
        let spent: Vec<i64> = leased.iter().map(|one| i64::from(one.transition.spent)).collect();
        let followed: HashSet<usize> = tx
            .list(
                &FOLLOW,
                &[
                    &numbers,
                    &ids,
                    &webhook_numbers,
                    &tokens,
                    &states,
                    &due_at,
                    &finished_at,
                    &fail_reasons,
                    &spent,
                ],
                "deliveries",
                |cursor| cursor.number("number"),
            )
            .await?
            .into_iter()
            .collect();
        drop(columns);
        for (number, (one, webhook)) in leased.into_iter().zip(webhooks).enumerate() {
            let record = &records[one.index];
            if !followed.contains(&number) {
                self.record_late(tx, &webhook, one.index, one.delivery, record).await?;
                continue;
            }
            self.moved(&webhook, one.index, one.delivery, record, &one.transition);
        }
        Ok(())
    }

    /// Cancels a leased delivery whose webhook was deleted while the request was in flight.
    async fn cancel(
        &mut self,
        tx: &Transaction,
        one: LeasedRecord,
        record: &'batch AttemptRecord,
        webhook: &WebhookRow,
    ) -> Result<(), Fault> {
        let columns = state_columns(&one.transition.to);
        let parameters: &[&(dyn ToSql + Sync)] = &[
            &one.delivery.uuid(),
            &webhook.number,
            &one.token.uuid(),
            &columns.finished_at,
            &columns.cancel_reason,
            &columns.cancelled_by,
        ];
        if tx.change(&CANCEL, parameters).await? == 0 {
            return self.record_late(tx, webhook, one.index, one.delivery, record).await;
        }
        self.moved(webhook, one.index, one.delivery, record, &one.transition);
        Ok(())
    }

    /// Records an attempt whose lease is lost.
    async fn record_late(
        &mut self,
        tx: &Transaction,
        webhook: &WebhookRow,
        index: usize,
        delivery: DeliveryId,
        record: &'batch AttemptRecord,
    ) -> Result<(), Fault> {
        let Some(state) = find_state(tx, webhook, delivery).await? else { return Ok(()) };
        let (started_at, trigger) = (record.attempt.started_at.as_millis(), record.attempt.trigger.as_str());
        let is_in = !tx.rows(&FIND_ATTEMPT, &[&delivery.uuid(), &started_at, &trigger]).await?.is_empty();
        let is_noted = self.recorded.iter().any(|one| {
            let other = &one.record.attempt;
            one.delivery == delivery
                && (other.started_at, other.trigger) == (record.attempt.started_at, record.attempt.trigger)
        });
        let effect = late(state, is_in || is_noted, &record.attempt);
        self.write_effect(tx, webhook, index, delivery, record, effect).await
    }

    /// Writes the effect of an attempt that has no lease. Such an attempt can only make its delivery succeeded.
    async fn write_effect(
        &mut self,
        tx: &Transaction,
        webhook: &WebhookRow,
        index: usize,
        delivery: DeliveryId,
        record: &'batch AttemptRecord,
        effect: Effect,
    ) -> Result<(), Fault> {
        match effect {
            Effect::Superseded => {}
            Effect::Recorded => self.note(index, delivery, record, None),
            Effect::Moved(transition) => {
                let at = record.attempt.ended_at().as_millis();
                tx.change(&SUCCEED, &[&delivery.uuid(), &webhook.number, &at]).await?;
                self.moved(webhook, index, delivery, record, &transition);
            }
        }
        Ok(())
    }

    /// Counts a delivery's change of state, and notes its attempt.
    fn moved(
        &mut self,
        webhook: &WebhookRow,
        index: usize,
        delivery: DeliveryId,
        record: &'batch AttemptRecord,
        transition: &Transition,
    ) {
        self.ledger.moved(webhook.account(), record.attempt.ended_at(), transition);
        self.note(index, delivery, record, transition.ended().cloned());
    }

    /// Inserts a ping. False if a commit whose response was lost has inserted it already.
    async fn insert_ping(
        &mut self,
        tx: &Transaction,
        webhook: &WebhookRow,
        delivery: &Delivery,
    ) -> Result<bool, Fault> {
        let id = delivery.id.uuid();
        if !tx.rows(&FIND_PING, &[&id]).await?.is_empty() {
            return Ok(false);
        }
        let columns = state_columns(&delivery.state);
        tx.change(
            &INSERT_PING,
            &[
                &id,
                &webhook.organization_number,
                &webhook.number,
                &delivery.event_id.uuid(),
                &delivery.format.as_str(),
                &delivery.created_at.as_millis(),
                &i64::from(delivery.attempts_spent),
                &columns.state,
                &columns.finished_at,
                &columns.fail_reason,
                &columns.cancel_reason,
                &columns.cancelled_by,
                &delivery.body.as_deref(),
            ],
        )
        .await?;
        self.ledger.stored(webhook.organization_number, delivery.body.as_deref().map_or(0, length));
        self.ledger.inserted(webhook.account(), delivery);
        Ok(true)
    }

    /// Inserts the recorded attempts and updates the webhooks' health. Returns the outcome of each record.
    pub(super) async fn finish(
        self,
        tx: &Transaction,
        records: &[AttemptRecord],
    ) -> Result<Vec<AttemptOutcome>, Fault> {
        let mut outcomes = vec![AttemptOutcome::Superseded; records.len()];
        if self.recorded.is_empty() {
            return Ok(outcomes);
        }
        let Self { lookups, ledger, recorded } = self;
        let mut rows = AttemptRows::default();
        for one in &recorded {
            let webhook = lookups.webhooks[&one.record.webhook];
            let stored_bytes = rows.push(one.delivery, webhook.number, &one.record.attempt);
            ledger.attempt(webhook.account(), &one.record.attempt, stored_bytes);
        }
        let (_, health) = try_join(rows.insert(tx), follow_health(tx, lookups, &recorded)).await?;
        for (one, health) in recorded.into_iter().zip(health) {
            outcomes[one.index] = AttemptOutcome::Recorded { health, ended: one.ended };
        }
        Ok(outcomes)
    }
}

/// The actor that deleted a webhook.
async fn deleted_by(tx: &Transaction, webhook: &WebhookRow) -> Result<Box<str>, Fault> {
    let by = tx
        .first(&DELETED_BY, &[&webhook.number], "webhooks", |cursor| {
            cursor.skip("number")?;
            Ok(cursor.text("deleted_by")?.into())
        })
        .await?;
    by.ok_or_else(|| Fault::missing("webhooks", &webhook.number))
}

/// Locks a webhook's delivery until the transaction ends, and returns its state.
async fn find_state(
    tx: &Transaction,
    webhook: &WebhookRow,
    delivery: DeliveryId,
) -> Result<Option<StateKind>, Fault> {
    let (id, number) = (delivery.uuid(), webhook.number);
    let parameters: &[&(dyn ToSql + Sync)] = &[&id, &number];
    find_twice(|| {
        tx.first(&FIND_REDELIVERED, parameters, "deliveries", |cursor| {
            cursor.skip("id")?;
            cursor.word("state", StateKind::parse)
        })
    })
    .await
}
