//! Background maintenance, by one node at a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::WebhookId;
use stackbell_store::StoreError;
use stackbell_store::maintenance::{Depth, LaneDepth, Maintenance, SweepPolicy, SweepReport};
use stackbell_store::rows::{Columns as _, Id as _, milliseconds};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::error::Fault;
use crate::ledger::{Account, Ledger};
use crate::partitions::{self, Dropped};
use crate::session::{Access, Transaction};
use crate::statement::{Statement, statement};
use crate::{LeaseClock, PostgresStore};

// One step in the index by age for each webhook with pending deliveries.
statement!(FIND_AGED_LANES = "/* sweep.aged_lanes */ WITH RECURSIVE lane (number, oldest) AS ( \
        SELECT 0::bigint, NULL::bigint \
        UNION ALL \
        SELECT next.webhook_number, next.oldest FROM lane CROSS JOIN LATERAL ( \
            SELECT p.webhook_number, coalesce(p.rearmed_at, p.created_at) AS oldest FROM deliveries_pending p \
            WHERE p.webhook_number > lane.number \
            ORDER BY p.webhook_number, coalesce(p.rearmed_at, p.created_at) LIMIT 1) next) \
    SELECT number FROM lane WHERE oldest <= $1"; INT8);

statement!(FIND_HOLDS = "/* sweep.holds */ SELECT number, NOT (active AND suspended_since IS NULL), hold_ended_at, \
    (SELECT sending_held_since IS NOT NULL FROM meta) FROM webhooks \
    WHERE number = ANY($1) AND deleted_at IS NULL"; INT8_ARRAY);

statement!(CANCEL = "/* sweep.cancel */ WITH picked AS MATERIALIZED (SELECT d.id, w.deleted_by \
        FROM webhooks w CROSS JOIN LATERAL (SELECT p.id FROM deliveries_pending p \
            WHERE p.webhook_number = w.number LIMIT $1 FOR UPDATE SKIP LOCKED) d \
        WHERE w.deleted_at IS NOT NULL LIMIT $1), \
    gone AS (DELETE FROM deliveries_pending d USING picked WHERE d.id = picked.id \
        RETURNING d.id, d.organization_number, d.webhook_number, d.event_key, d.format, d.created_at, d.rearmed_at, \
            d.attempts_spent, picked.deleted_by, d.body), \
    ended AS (INSERT INTO deliveries_ended (id, organization_number, webhook_number, event_key, format, created_at, \
            rearmed_at, attempts_spent, state, finished_at, cancel_reason, cancelled_by, body) \
        SELECT id, organization_number, webhook_number, event_key, format, created_at, rearmed_at, attempts_spent, \
            'cancelled', $2, 'webhook_deleted', deleted_by, body FROM gone) \
    SELECT organization_number, webhook_number FROM gone"; INT8, INT8);

statement!(EXPIRE = "/* sweep.expire */ WITH clock AS MATERIALIZED (SELECT coalesce($5::bigint, now_ms()) AS now), \
    picked AS MATERIALIZED (SELECT d.id FROM clock, \
        unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS aged (webhook_number, first, last) \
        JOIN deliveries_pending d ON d.webhook_number = aged.webhook_number \
            AND coalesce(d.rearmed_at, d.created_at) BETWEEN aged.first AND aged.last \
        WHERE d.lease_until IS NULL OR d.lease_until <= clock.now LIMIT $4 FOR UPDATE OF d SKIP LOCKED), \
    gone AS (DELETE FROM deliveries_pending d USING picked WHERE d.id = picked.id \
        RETURNING d.id, d.organization_number, d.webhook_number, d.event_key, d.format, d.created_at, d.rearmed_at, \
            d.attempts_spent, d.body), \
    ended AS (INSERT INTO deliveries_ended (id, organization_number, webhook_number, event_key, format, created_at, \
            rearmed_at, attempts_spent, state, finished_at, fail_reason, body) \
        SELECT id, organization_number, webhook_number, event_key, format, created_at, rearmed_at, attempts_spent, \
            'failed', $6, 'expired', body FROM gone) \
    SELECT organization_number, webhook_number FROM gone"; INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8, INT8, INT8);

// From the default partitions only: whole days are dropped.
statement!(REMOVE_DELIVERIES = "/* sweep.remove_deliveries */ WITH picked AS MATERIALIZED (SELECT id FROM deliveries_rest \
        WHERE finished_at < $1 ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
    gone AS (DELETE FROM deliveries_rest d USING picked WHERE d.id = picked.id \
        RETURNING d.id, d.organization_number, coalesce(octet_length(d.body), 0) AS bytes), \
    attempted AS (DELETE FROM attempts_rest a USING picked WHERE a.delivery_id = picked.id \
        RETURNING a.delivery_id, octet_length(a.request_headers) + coalesce(octet_length(a.response_headers), 0) \
            + coalesce(octet_length(a.response_body), 0) AS bytes) \
    SELECT gone.organization_number, (gone.bytes + coalesce((SELECT sum(bytes) FROM attempted \
        WHERE attempted.delivery_id = gone.id), 0))::bigint FROM gone"; INT8, INT8);

statement!(REMOVE_EVENTS = "/* sweep.remove_events */ WITH picked AS MATERIALIZED (SELECT e.key FROM events_rest e \
        WHERE e.accepted_at < $1 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_key = e.key) \
        ORDER BY e.accepted_at LIMIT $2 FOR UPDATE OF e SKIP LOCKED), \
    gone AS (DELETE FROM events_rest e USING picked WHERE e.key = picked.key \
        RETURNING e.organization_number, e.id, e.key, octet_length(e.payload)::bigint AS bytes), \
    freed AS (DELETE FROM event_ids i USING gone WHERE i.organization_number = gone.organization_number \
        AND i.id = gone.id AND i.key = gone.key) \
    SELECT organization_number, bytes FROM gone"; INT8, INT8);

statement!(REMOVE_RECOVERIES = "/* sweep.remove_recoveries */ DELETE FROM recoveries WHERE id IN \
    (SELECT id FROM recoveries WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)"; INT8, INT8);

statement!(REMOVE_TALLIES = "/* sweep.remove_tallies */ DELETE FROM tallies \
    WHERE (hour, organization_number, webhook_number, slot) IN \
    (SELECT hour, organization_number, webhook_number, slot FROM tallies WHERE hour < $1 ORDER BY hour LIMIT $2)";
    INT8, INT8);

statement!(REMOVE_AUDIT = "/* sweep.remove_audit */ DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)"; INT8, INT8);

// Webhooks that were deleted later are not read, because most of them still have deliveries.
statement!(REMOVE_WEBHOOKS = "/* sweep.remove_webhooks */ DELETE FROM webhooks WHERE number IN \
    (SELECT w.number FROM webhooks w WHERE w.deleted_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_number = w.number) LIMIT $2)"; INT8, INT8);

// A node that lost its connection during a commit has found out the outcome by then.
statement!(REMOVE_COMMITS = "/* sweep.remove_commits */ DELETE FROM commits WHERE id IN \
    (SELECT id FROM commits WHERE at < now_ms() - 3600000 ORDER BY at LIMIT $1)"; INT8);

// Reads at most the hours of one day. Rows are locked in the order in which tallies are written, and locked rows are skipped, so
// that no writer of tallies waits for this statement.
statement!(FOLD_TALLIES = "/* sweep.fold_tallies */ WITH picked AS MATERIALIZED ( \
        SELECT hour, organization_number, webhook_number, slot FROM tallies \
        WHERE hour >= $1 AND hour < $2 AND slot > 0 ORDER BY hour LIMIT $3 FOR UPDATE SKIP LOCKED), \
    gone AS (DELETE FROM tallies t USING picked p WHERE t.hour = p.hour \
            AND t.organization_number = p.organization_number AND t.webhook_number = p.webhook_number \
            AND t.slot = p.slot RETURNING t.*) \
    INSERT INTO tallies (hour, organization_number, webhook_number, slot, \
        events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    SELECT hour, organization_number, webhook_number, 0, sum(events)::bigint, sum(made)::bigint, \
        sum(succeeded)::bigint, sum(failed)::bigint, sum(cancelled)::bigint, sum(attempts)::bigint, \
        sum(attempts_failed)::bigint, sum(attempts_took)::bigint \
    FROM gone GROUP BY hour, organization_number, webhook_number ORDER BY hour, organization_number, webhook_number \
    ON CONFLICT (hour, organization_number, webhook_number, slot) DO UPDATE SET \
        events = tallies.events + excluded.events, made = tallies.made + excluded.made, \
        succeeded = tallies.succeeded + excluded.succeeded, failed = tallies.failed + excluded.failed, \
        cancelled = tallies.cancelled + excluded.cancelled, attempts = tallies.attempts + excluded.attempts, \
        attempts_failed = tallies.attempts_failed + excluded.attempts_failed, \
        attempts_took = tallies.attempts_took + excluded.attempts_took"; INT8, INT8, INT8);

statement!(NOW = "/* sweep.now */ SELECT now_ms() AS now";);

statement!(COUNT_PENDING = "/* depth.pending */ SELECT coalesce(sum(pending), 0)::bigint FROM usage";);

// One step in the queue's index for each lane, then all entries of the lanes on the page.
statement!(LANE_DEPTHS = "/* lane_depths */ WITH RECURSIVE \
    lane (number, due_at, id, active, suspended, found) AS ( \
        SELECT coalesce((SELECT number FROM webhooks WHERE id = $2), 0), NULL::bigint, NULL::uuid, NULL::boolean, \
            NULL::boolean, 0::bigint \
        UNION ALL \
        SELECT next.webhook_number, next.due_at, w.id, w.active, w.suspended_since IS NOT NULL, \
            lane.found + (w.id IS NOT NULL)::int \
        FROM lane CROSS JOIN LATERAL (SELECT p.webhook_number, p.due_at FROM deliveries_pending p \
            WHERE p.webhook_number > lane.number ORDER BY p.webhook_number, p.due_at, p.id LIMIT 1) next \
        LEFT JOIN webhooks w ON w.number = next.webhook_number AND w.deleted_at IS NULL \
        WHERE lane.found < $3) \
    SELECT lane.id, lane.active, lane.suspended, \
        (SELECT count(*) FROM deliveries_pending p WHERE p.webhook_number = lane.number AND p.due_at <= $1), \
        (SELECT count(*) FROM deliveries_pending p WHERE p.webhook_number = lane.number AND p.due_at > $1), \
        lane.due_at \
    FROM lane WHERE lane.id IS NOT NULL ORDER BY lane.number"; INT8, UUID, INT8);

statement!(COUNT_SUSPENDED = "/* depth.suspended */ SELECT count(*) FROM webhooks \
    WHERE suspended_since IS NOT NULL AND deleted_at IS NULL";);

statement!(CHECK_WRITE = "/* check.write */ UPDATE meta SET checks = checks + 1";);

/// Makes the server write a temporary file of 128 KiB, because the result exceeds `work_mem`. The query fails on a full disk.
const CHECK_ROOM: &str = "/* check.room */ SET LOCAL work_mem = '64kB'; WITH filling AS MATERIALIZED \
    (SELECT repeat('-', 65536) FROM generate_series(1, 2)) SELECT count(*) FROM filling";

/// The number of events whose ids are freed in one step.
const IDS_MAX: u32 = 2000;

/// The maximum that a node's clock may be ahead of the database's. It is longer than a round trip.
const AHEAD_MAX: Duration = Duration::from_secs(5);

/// The counts of an hour hardly change once this time has passed since the hour's start.
const SETTLED_AFTER: Duration = Duration::from_secs(2 * 3600);

/// The slots of an hour are folded within this time after [`SETTLED_AFTER`]. Slots that are not folded by then stay, and reads add
/// them up.
const FOLDED_WITHIN: Duration = Duration::from_secs(24 * 3600);

#[async_trait]
impl Maintenance for PostgresStore {
    /// Does nothing if another node is sweeping. Besides single rows, it creates and drops whole days.
    ///
    /// The sweep's time is never ahead of the database's clock, because its removals affect all nodes.
    async fn sweep(&self, now: Timestamp, policy: &SweepPolicy) -> Result<SweepReport, StoreError> {
        let ahead = self.ahead(now).await?;
        let (now, policy) = (now.before(ahead), &set_back(policy, ahead));
        let made_before = now.before(policy.retry.age_max.min(policy.retry.held_age_max));
        let aged = self.read("sweep", |tx| async move {
            let before = made_before.as_millis();
            tx.list(&FIND_AGED_LANES, &[&before], "webhooks", |cursor| cursor.integer("number")).await
        });
        let aged: Vec<i64> = aged.await?;
        let (aged, clock) = (&aged, self.lease_clock.now(now));
        let swept = self.maintain(|tx| async move {
            if !partitions::try_lock(&tx).await? {
                return Ok(None);
            }
            let sweep = Sweep { tx: &tx, ledger: Ledger::default(), now, clock, policy };
            sweep.run(aged).await.map(Some)
        });
        let Some(mut report) = swept.await? else { return Ok(SweepReport::default()) };
        self.fold_tallies(now, policy.rows_max).await?;
        let dropped = self.keep_days(policy).await?;
        report.deliveries_removed += dropped.deliveries;
        report.events_removed += dropped.events;
        Ok(report)
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.read("depth", |tx| async move {
            let pending = tx.first(&COUNT_PENDING, &[], "usage", |cursor| cursor.count("pending")).await?;
            let suspended =
                tx.first(&COUNT_SUSPENDED, &[], "webhooks", |cursor| cursor.count("number")).await?;
            Ok(Depth { pending: pending.unwrap_or_default(), suspended: suspended.unwrap_or_default() })
        })
        .await
    }

    async fn lane_depths(
        &self,
        now: Timestamp,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<LaneDepth>, StoreError> {
        let after = after.map_or(Uuid::nil(), |after| after.uuid());
        self.read("lane_depths", |tx| async move {
            let parameters: [&(dyn ToSql + Sync); 3] = [&now.as_millis(), &after, &i64::from(limit)];
            tx.list(&LANE_DEPTHS, &parameters, "webhooks", |cursor| {
                Ok(LaneDepth {
                    webhook: cursor.id("id")?,
                    active: cursor.flag("active")?,
                    suspended: cursor.flag("suspended_since")?,
                    due: cursor.count("due_at")?,
                    later: cursor.count("due_at")?,
                    first_due: cursor.time("due_at")?,
                })
            })
            .await
        })
        .await
    }

    /// Writes and syncs a row, because only a write reveals a read-only server. The update needs no space, so it succeeds on a
    /// full disk: if the disk may be full, `check_room` is called as well.
    async fn check(&self) -> Result<(), StoreError> {
        if !self.has_room.load(Ordering::Relaxed) {
            self.check_room().await?;
        }
        self.write("check", |tx| async move { tx.change(&CHECK_WRITE, &[]).await.map(|_| ()) }).await
    }
}

impl PostgresStore {
    /// Checks whether the database's disk has room, by a temporary file. It is not called each time, because servers count such
    /// files and may log them.
    ///
    /// It detects nothing if temporary files are on another disk.
    async fn check_room(&self) -> Result<(), StoreError> {
        match self.write("check", |tx| async move { tx.define(CHECK_ROOM).await }).await {
            Ok(()) => self.has_room.store(true, Ordering::Relaxed),
            Err(full @ StoreError::Full { .. }) => return Err(full),
            // The server may not allow temporary files, which is no problem. If it is down, the next statement fails too.
            Err(_) => {}
        }
        Ok(())
    }

    async fn maintain<T, F>(
        &self,
        work: impl Fn(std::sync::Arc<Transaction>) -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Fault>> + Send,
    {
        self.shared_pool.run(Access::Maintenance, "sweep", work).await
    }

    /// Runs work that scans a whole day. It sets its own timeouts within those of [`Access::LongMaintenance`].
    async fn maintain_day<T, F>(
        &self,
        work: impl Fn(std::sync::Arc<Transaction>) -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Fault>> + Send,
    {
        self.shared_pool.run(Access::LongMaintenance, "sweep", work).await
    }

    /// Returns by how much `now` is ahead of the database's clock; zero if it is within [`AHEAD_MAX`].
    async fn ahead(&self, now: Timestamp) -> Result<Duration, StoreError> {
        if self.lease_clock == LeaseClock::Caller {
            return Ok(Duration::ZERO);
        }
        let database_now = self.read("sweep", |tx| async move {
            let found = tx.first(&NOW, &[], "now_ms", |cursor| cursor.time("now")).await?;
            found.ok_or_else(|| Fault::missing("now_ms", &"now"))
        });
        let ahead = now.since(database_now.await?);
        if ahead <= AHEAD_MAX {
            return Ok(Duration::ZERO);
        }
        tracing::warn!(
            ahead_ms = milliseconds(ahead),
            "this node's clock is ahead of the database's clock, which the sweep uses: synchronize both by NTP"
        );
        Ok(ahead)
    }

    /// Folds the slots of past hours' tallies into one, because the slots take up to sixteen times the space. It is a separate,
    /// short transaction, so that late writers of tallies do not wait long.
    async fn fold_tallies(&self, now: Timestamp, rows_max: u32) -> Result<(), StoreError> {
        let before = now.before(SETTLED_AFTER);
        let (from, before) = (before.before(FOLDED_WITHIN).as_millis(), before.as_millis());
        let rows_max = i64::from(rows_max);
        self.maintain(
            |tx| async move { tx.change(&FOLD_TALLIES, &[&from, &before, &rows_max]).await.map(|_| ()) },
        )
        .await
    }

    /// Creates the next days and drops past days, each in its own transaction.
    async fn keep_days(&self, policy: &SweepPolicy) -> Result<Dropped, StoreError> {
        let before = policy.finished_before;
        let past = self.maintain(|tx| async move {
            if !partitions::try_lock(&tx).await? {
                return Ok(Vec::new());
            }
            partitions::make_days(&tx).await?;
            partitions::past_deliveries(&tx, before).await
        });
        let mut total = Dropped::default();
        for day in past.await? {
            let dropped = self.maintain_day(|tx| async move {
                if !partitions::try_lock(&tx).await? {
                    return Ok(Dropped::default());
                }
                partitions::drop_deliveries(&tx, day, before).await
            });
            total.deliveries += dropped.await?.deliveries;
        }
        let past = self.maintain(|tx| async move { partitions::past_events(&tx, before).await });
        for day in past.await? {
            total.events += self.drop_events(day).await?.events;
        }
        Ok(total)
    }

    async fn drop_events(&self, day: i64) -> Result<Dropped, StoreError> {
        let mut after = Uuid::nil();
        while let Some(last) =
            self.maintain(|tx| async move { partitions::free_ids(&tx, day, after, IDS_MAX).await }).await?
        {
            after = last;
        }
        self.maintain_day(|tx| async move {
            if !partitions::try_lock(&tx).await? {
                return Ok(Dropped::default());
            }
            partitions::drop_events(&tx, day).await
        })
        .await
    }
}

/// Moves the times of a policy back.
fn set_back(policy: &SweepPolicy, by: Duration) -> SweepPolicy {
    SweepPolicy {
        finished_before: policy.finished_before.before(by),
        audit_before: policy.audit_before.before(by),
        ..policy.clone()
    }
}

struct Sweep<'sweep> {
    tx: &'sweep Transaction,
    ledger: Ledger,
    now: Timestamp,
    clock: Option<i64>,
    policy: &'sweep SweepPolicy,
}

impl Sweep<'_> {
    async fn run(mut self, aged: &[i64]) -> Result<SweepReport, Fault> {
        let mut report = SweepReport {
            cancelled: self.cancel().await?,
            expired: self.expire(aged).await?,
            deliveries_removed: self.remove_counted(&REMOVE_DELIVERIES).await?,
            events_removed: self.remove_counted(&REMOVE_EVENTS).await?,
            audit_removed: self.remove(&REMOVE_AUDIT, self.policy.audit_before).await?,
            more: false,
        };
        let others = [
            self.remove(&REMOVE_WEBHOOKS, self.policy.finished_before).await?,
            self.remove(&REMOVE_RECOVERIES, self.policy.audit_before).await?,
            self.remove(&REMOVE_TALLIES, self.policy.audit_before).await?,
            self.tx.change(&REMOVE_COMMITS, &[&self.rows_max()]).await?,
        ];
        let removed = [
            report.cancelled,
            report.expired,
            report.deliveries_removed,
            report.events_removed,
            report.audit_removed,
        ];
        let rows_max = u64::from(self.policy.rows_max);
        report.more = removed.into_iter().chain(others).any(|rows| rows >= rows_max);
        self.ledger.write(self.tx).await?;
        Ok(report)
    }

    fn rows_max(&self) -> i64 {
        i64::from(self.policy.rows_max)
    }

    async fn cancel(&mut self) -> Result<u64, Fault> {
        let parameters: [i64; 2] = [self.rows_max(), self.now.as_millis()];
        let accounts =
            self.tx.list(&CANCEL, &[&parameters[0], &parameters[1]], "deliveries", read_account).await?;
        Ok(self.end(&accounts, StateKind::Cancelled))
    }

    /// Expires old deliveries. `aged` has the numbers of the webhooks that may have some.
    async fn expire(&mut self, aged: &[i64]) -> Result<u64, Fault> {
        if aged.is_empty() {
            return Ok(0);
        }
        let holds = self
            .tx
            .list(&FIND_HOLDS, &[&aged], "webhooks", |cursor| {
                let number = cursor.integer("number")?;
                let (is_held, ended_at) = (cursor.flag("active")?, cursor.time_or_null("hold_ended_at")?);
                Ok((number, is_held | cursor.flag("sending_held_since")?, ended_at))
            })
            .await?;
        let (mut numbers, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
        for (number, is_held, ended_at) in holds {
            for (first, last) in self.policy.retry.expired_windows(self.now, is_held, ended_at) {
                numbers.push(number);
                firsts.push(first.as_millis());
                lasts.push(last.as_millis());
            }
        }
        let (rows_max, now) = (self.rows_max(), self.now.as_millis());
        let accounts = self
            .tx
            .list(
                &EXPIRE,
                &[&numbers, &firsts, &lasts, &rows_max, &self.clock, &now],
                "deliveries",
                read_account,
            )
            .await?;
        Ok(self.end(&accounts, StateKind::Failed))
    }

    /// Updates the counts for deliveries that are no longer pending.
    fn end(&mut self, accounts: &[Account], state: StateKind) -> u64 {
        for account in accounts {
            self.ledger.pending(account.organization, -1);
            self.ledger.ended(*account, self.now, state);
        }
        accounts.len() as u64
    }

    /// Removes rows whose bytes count in an organization's usage.
    async fn remove_counted(&mut self, statement: &Statement) -> Result<u64, Fault> {
        let (before, rows_max) = (self.policy.finished_before.as_millis(), self.rows_max());
        let removed = self
            .tx
            .list(statement, &[&before, &rows_max], "organizations", |cursor| {
                Ok((cursor.integer("number")?, cursor.integer("stored_bytes")?))
            })
            .await?;
        for (organization, bytes) in &removed {
            self.ledger.stored(*organization, -bytes);
        }
        Ok(removed.len() as u64)
    }

    async fn remove(&self, statement: &Statement, before: Timestamp) -> Result<u64, Fault> {
        self.tx.change(statement, &[&before.as_millis(), &self.rows_max()]).await
    }
}

fn read_account(cursor: &mut crate::rows::Cursor<'_>) -> Result<Account, Fault> {
    let organization = cursor.integer("organization_number")?;
    Ok(Account { organization, webhook: cursor.integer("webhook_number")? })
}
