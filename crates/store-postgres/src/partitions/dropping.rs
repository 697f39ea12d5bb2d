//! How a day goes.
//!
//! What walks through the day comes first, under a lock that keeps off who would write into that day, and nobody else: it is
//! counted, and what stays of it is laid aside. To take the day out of its table keeps everybody out of the whole table until
//! the transaction ends; all that is left to do by then is to put back what stays, and to drop the rest unread.

use std::time::Duration;

use stackbell_model::Timestamp;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{DAY_MS, Kept, days, first_id};
use crate::error::Fault;
use crate::ledger::Ledger;
use crate::session::Transaction;

/// For the walks: a day of a busy cluster takes minutes. The lock is waited for longer than a second, which is when a vacuum
/// of that day gives way.
const WALK_LIMITS: &str = "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '3s'; \
    SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL enable_seqscan = on";

/// For taking out: whoever comes behind waits as long as we do.
const TAKE_OUT_LIMITS: &str = "SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '500ms'";

/// For putting back, when nobody is in the way any more but who counts in the same slot.
const PUT_BACK_LIMITS: &str = "SET LOCAL lock_timeout = '5s'";

/// How often a day is tried to be taken out before what was walked is given up.
const TRIES_MAX: u32 = 20;

/// In between, everybody else goes on.
const TRY_REST: Duration = Duration::from_millis(500);

/// What a dropped day took along.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) deliveries: u64,
    pub(crate) events: u64,
}

/// The days of ended deliveries that were over before `finished_before`, oldest first.
pub(crate) async fn past_deliveries(tx: &Transaction, finished_before: Timestamp) -> Result<Vec<i64>, Fault> {
    Ok(days(tx, Kept::Ended).await?.into_iter().filter(|day| is_past(*day, finished_before)).collect())
}

/// The same of events. One goes no earlier than the deliveries of its day and of the day after: an event of the last second
/// has deliveries of the next.
pub(crate) async fn past_events(tx: &Transaction, finished_before: Timestamp) -> Result<Vec<i64>, Fault> {
    let ended = days(tx, Kept::Ended).await?;
    let is_left = |day: &i64| ended.contains(day) || ended.contains(&(day + 1));
    let days = days(tx, Kept::Events).await?.into_iter();
    Ok(days.filter(|day| is_past(*day, finished_before) && !is_left(day)).collect())
}

fn is_past(day: i64, before: Timestamp) -> bool {
    (day + 1) * DAY_MS <= before.as_millis()
}

/// Drops a day of ended deliveries with their attempts.
pub(crate) async fn drop_deliveries(
    tx: &Transaction,
    day: i64,
    finished_before: Timestamp,
) -> Result<Dropped, Fault> {
    let has_attempts = days(tx, Kept::Attempts).await?.contains(&day);
    // In the order that outcomes are written in.
    let tables: &[Kept] = if has_attempts { &[Kept::Ended, Kept::Attempts] } else { &[Kept::Ended] };
    hold(tx, day, tables).await?;
    let goes = format!("finished_at < {}", finished_before.as_millis());
    lay_aside(tx, Kept::Ended, day, &format!("NOT ({goes})")).await?;
    let mut ledger = Ledger::default();
    let deliveries = count_deliveries(tx, day, &goes, &mut ledger).await?;
    if has_attempts {
        set_attempts_aside(tx, day, &mut ledger).await?;
    }
    take_out(tx, day, tables).await?;
    put_back(tx, day, tables).await?;
    ledger.write(tx).await?;
    tracing::info!(day, deliveries, "a day of deliveries was dropped");
    Ok(Dropped { deliveries, events: 0 })
}

async fn count_deliveries(tx: &Transaction, day: i64, goes: &str, ledger: &mut Ledger) -> Result<u64, Fault> {
    let ended = Kept::Ended.partition(day);
    let counted = format!(
        "/* partitions.count_deliveries */ SELECT organization_number, \
         coalesce(sum(octet_length(body)), 0)::bigint, count(*) FROM {ended} WHERE {goes} GROUP BY organization_number"
    );
    take_off(tx, &counted, ledger).await
}

/// Of the attempts of a day those stay whose delivery does, ended or pending. Neither changes meanwhile: a delivery that
/// becomes the other leaves its ended day, or comes into it.
async fn set_attempts_aside(tx: &Transaction, day: i64, ledger: &mut Ledger) -> Result<(), Fault> {
    let (ended, attempts) = (Kept::Ended.aside(), Kept::Attempts.partition(day));
    let (from, to) = (first_id(day), first_id(day + 1));
    tx.define(&format!(
        "CREATE TEMPORARY TABLE stays_aside ON COMMIT DROP AS SELECT id FROM {ended} \
         UNION ALL SELECT id FROM deliveries_pending WHERE id >= '{from}' AND id < '{to}'; ANALYZE stays_aside"
    ))
    .await?;
    lay_aside(tx, Kept::Attempts, day, "delivery_id IN (SELECT id FROM stays_aside)").await?;
    let counted = format!(
        "/* partitions.count_attempts */ SELECT w.organization_number, sum(octet_length(a.request_headers) \
         + coalesce(octet_length(a.response_headers), 0) + coalesce(octet_length(a.response_body), 0))::bigint, \
         count(*) FROM {attempts} a JOIN webhooks w ON w.number = a.webhook_number \
         WHERE NOT EXISTS (SELECT FROM stays_aside s WHERE s.id = a.delivery_id) GROUP BY w.organization_number"
    );
    take_off(tx, &counted, ledger).await.map(|_| ())
}

/// The events of a day that stay: those of a delivery that is there yet.
const STAYS: &str = "(EXISTS (SELECT 1 FROM deliveries_pending d WHERE d.event_key = e.key) \
    OR EXISTS (SELECT 1 FROM deliveries_rest d WHERE d.event_key = e.key))";

/// Frees the ids of the next `rows_max` events of a day beyond `after` that do not stay; the last of those that were looked
/// at, `None` at the end. The ids go first, in steps: they lie in one table, which must not be held for long.
pub(crate) async fn free_ids(
    tx: &Transaction,
    day: i64,
    after: Uuid,
    rows_max: u32,
) -> Result<Option<Uuid>, Fault> {
    let partition = Kept::Events.partition(day);
    let last = tx.ask(&format!(
        "/* partitions.free_ids */ WITH looked AS MATERIALIZED (SELECT e.organization_number, e.id, e.key, {STAYS} AS stays \
         FROM {partition} e WHERE e.key > '{after}' ORDER BY e.key LIMIT {rows_max}), \
         freed AS (DELETE FROM event_ids i USING looked l WHERE NOT l.stays \
             AND i.organization_number = l.organization_number AND i.id = l.id AND i.key = l.key) \
         SELECT max(key::text)::uuid FROM looked"
    )).await?;
    Ok(last.first().map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Drops a day of events whose ids were freed.
pub(crate) async fn drop_events(tx: &Transaction, day: i64) -> Result<Dropped, Fault> {
    let (partition, aside) = (Kept::Events.partition(day), Kept::Events.aside());
    hold(tx, day, &[Kept::Events]).await?;
    lay_aside(tx, Kept::Events, day, STAYS).await?;
    // By what was laid aside and not by its reason: a delivery may be gone by now.
    let counted = format!(
        "/* partitions.count_events */ SELECT organization_number, sum(octet_length(payload))::bigint, count(*) \
         FROM {partition} e WHERE NOT EXISTS (SELECT FROM {aside} s WHERE s.key = e.key) GROUP BY organization_number"
    );
    let mut ledger = Ledger::default();
    let events = take_off(tx, &counted, &mut ledger).await?;
    take_out(tx, day, &[Kept::Events]).await?;
    put_back(tx, day, &[Kept::Events]).await?;
    ledger.write(tx).await?;
    tracing::info!(day, events, "a day of events was dropped");
    Ok(Dropped { deliveries: 0, events })
}

/// Keeps off who would write into a day, as long as it is walked through.
async fn hold(tx: &Transaction, day: i64, tables: &[Kept]) -> Result<(), Fault> {
    tx.define(WALK_LIMITS).await?;
    for kept in tables {
        tx.define(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", kept.partition(day))).await?;
    }
    Ok(())
}

/// Copies those rows of a day, by the name `e`, that stay. The copy is the transaction's own and ends with it, behind a
/// pooler too.
async fn lay_aside(tx: &Transaction, kept: Kept, day: i64, stays: &str) -> Result<(), Fault> {
    let (aside, partition) = (kept.aside(), kept.partition(day));
    tx.define(&format!(
        "CREATE TEMPORARY TABLE {aside} ON COMMIT DROP AS SELECT * FROM {partition} e WHERE {stays}; ANALYZE {aside}"
    ))
    .await
}

/// Takes bytes off their organizations, which `counted` asks for; how many rows they were.
async fn take_off(tx: &Transaction, counted: &str, ledger: &mut Ledger) -> Result<u64, Fault> {
    let mut rows = 0;
    for row in tx.ask(counted).await? {
        ledger.stored(row.try_get(0)?, -row.try_get::<_, i64>(1)?);
        rows += u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0);
    }
    Ok(rows)
}

/// Takes a day out of its tables. Who reads them is waited for, briefly and again and again, so that a long look at them
/// neither holds up everybody else for long nor undoes the walks.
async fn take_out(tx: &Transaction, day: i64, tables: &[Kept]) -> Result<(), Fault> {
    let detach =
        |kept: &Kept| format!("; ALTER TABLE {} DETACH PARTITION {}", kept.table(), kept.partition(day));
    let detach: Vec<String> = tables.iter().map(detach).collect();
    let detach = format!("SAVEPOINT walked{}", detach.concat());
    tx.define(TAKE_OUT_LIMITS).await?;
    for _ in 1..TRIES_MAX {
        match tx.define(&detach).await {
            Err(fault) if is_in_the_way(&fault) => tx.define("ROLLBACK TO SAVEPOINT walked").await?,
            done => return done,
        }
        tokio::time::sleep(TRY_REST).await;
    }
    tx.define(&detach).await
}

fn is_in_the_way(fault: &Fault) -> bool {
    let Fault::Driver(error) = fault else { return false };
    matches!(error.code(), Some(code) if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code))
}

/// Puts what stays of a day into the rest, and drops the day.
async fn put_back(tx: &Transaction, day: i64, tables: &[Kept]) -> Result<(), Fault> {
    tx.define(PUT_BACK_LIMITS).await?;
    for kept in tables {
        let (table, aside, partition) = (kept.table(), kept.aside(), kept.partition(day));
        tx.define(&format!("INSERT INTO {table} SELECT * FROM {aside}; DROP TABLE {partition}")).await?;
    }
    Ok(())
}
