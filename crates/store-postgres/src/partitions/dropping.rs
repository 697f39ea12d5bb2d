//! Drops a day.
//!
//! The scans come first, under a lock that only blocks writers of that day: they count the rows, and copy those that stay to a
//! temporary table. The detach of the partition then locks the whole table until the transaction ends. Only fast steps are left
//! by then: the rows that stay are inserted again, and the partition is dropped without a scan.

use std::time::Duration;

use stackbell_model::Timestamp;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{DAY_MS, Partitioned, days, first_id};
use crate::error::Fault;
use crate::ledger::Ledger;
use crate::session::Transaction;

/// The timeouts of the scans. A day of a busy cluster takes minutes. The lock timeout is longer than a second, after which a
/// vacuum of that day gives way.
const SCAN_LIMITS: &str = "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '3s'; \
    SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL enable_seqscan = on";

/// The timeouts of the detach. Later transactions wait as long as the detach waits for its lock.
const DETACH_LIMITS: &str = "SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '500ms'";

/// The timeout of the reinsertion. Only transactions that update the same slots of counts can conflict by then.
const REINSERT_LIMITS: &str = "SET LOCAL lock_timeout = '5s'";

/// The maximum number of attempts to detach a day, before the transaction fails.
const TRIES_MAX: u32 = 20;

/// The pause between two attempts, in which other transactions continue.
const TRY_PAUSE: Duration = Duration::from_millis(500);

/// The number of rows that were removed with a day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) deliveries: u64,
    pub(crate) events: u64,
}

/// Returns the days of ended deliveries that ended before `finished_before`, oldest first.
pub(crate) async fn past_deliveries(tx: &Transaction, finished_before: Timestamp) -> Result<Vec<i64>, Fault> {
    Ok(days(tx, Partitioned::Ended).await?.into_iter().filter(|day| is_past(*day, finished_before)).collect())
}

/// Returns the days of events that ended before `finished_before`, oldest first, without those whose deliveries are kept. The
/// deliveries of a day's last events can have the next day, so that day must be dropped too.
pub(crate) async fn past_events(tx: &Transaction, finished_before: Timestamp) -> Result<Vec<i64>, Fault> {
    let ended = days(tx, Partitioned::Ended).await?;
    let has_deliveries = |day: &i64| ended.contains(day) || ended.contains(&(day + 1));
    let days = days(tx, Partitioned::Events).await?.into_iter();
    Ok(days.filter(|day| is_past(*day, finished_before) && !has_deliveries(day)).collect())
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
    let has_attempts = days(tx, Partitioned::Attempts).await?.contains(&day);
    // Locked in the order in which outcomes are recorded.
    let tables: &[Partitioned] =
        if has_attempts { &[Partitioned::Ended, Partitioned::Attempts] } else { &[Partitioned::Ended] };
    lock(tx, day, tables).await?;
    let is_removed = format!("finished_at < {}", finished_before.as_millis());
    retain(tx, Partitioned::Ended, day, &format!("NOT ({is_removed})")).await?;
    let mut ledger = Ledger::default();
    let deliveries = count_deliveries(tx, day, &is_removed, &mut ledger).await?;
    if has_attempts {
        retain_attempts(tx, day, &mut ledger).await?;
    }
    detach(tx, day, tables).await?;
    reinsert_and_drop(tx, day, tables).await?;
    ledger.write(tx).await?;
    tracing::info!(day, deliveries, "a day of deliveries was dropped");
    Ok(Dropped { deliveries, events: 0 })
}

async fn count_deliveries(
    tx: &Transaction,
    day: i64,
    is_removed: &str,
    ledger: &mut Ledger,
) -> Result<u64, Fault> {
    let ended = Partitioned::Ended.partition(day);
    let counts = format!(
        "/* partitions.count_deliveries */ SELECT organization_number, \
         coalesce(sum(octet_length(body)), 0)::bigint, count(*) FROM {ended} WHERE {is_removed} \
         GROUP BY organization_number"
    );
    subtract(tx, &counts, ledger).await
}

/// Retains the attempts whose delivery stays, ended or pending, and counts the others. The lock on the day prevents changes
/// between ended and pending meanwhile, because such a change writes into the day.
async fn retain_attempts(tx: &Transaction, day: i64, ledger: &mut Ledger) -> Result<(), Fault> {
    let (ended, attempts) = (Partitioned::Ended.retained(), Partitioned::Attempts.partition(day));
    let (from, to) = (first_id(day), first_id(day + 1));
    tx.define(&format!(
        "CREATE TEMPORARY TABLE retained_ids ON COMMIT DROP AS SELECT id FROM {ended} \
         UNION ALL SELECT id FROM deliveries_pending WHERE id >= '{from}' AND id < '{to}'; ANALYZE retained_ids"
    ))
    .await?;
    retain(tx, Partitioned::Attempts, day, "delivery_id IN (SELECT id FROM retained_ids)").await?;
    let counts = format!(
        "/* partitions.count_attempts */ SELECT w.organization_number, sum(octet_length(a.request_headers) \
         + coalesce(octet_length(a.response_headers), 0) + coalesce(octet_length(a.response_body), 0))::bigint, \
         count(*) FROM {attempts} a JOIN webhooks w ON w.number = a.webhook_number \
         WHERE NOT EXISTS (SELECT FROM retained_ids s WHERE s.id = a.delivery_id) GROUP BY w.organization_number"
    );
    subtract(tx, &counts, ledger).await.map(|_| ())
}

/// The condition for events of a day that stay: a delivery of the event is kept.
const IS_RETAINED: &str = "(EXISTS (SELECT 1 FROM deliveries_pending d WHERE d.event_key = e.key) \
    OR EXISTS (SELECT 1 FROM deliveries_rest d WHERE d.event_key = e.key))";

/// Frees the ids of removed events, among the next `rows_max` events of a day after `after`. Returns the last event that was
/// read; `None` at the end. The ids are removed first and in steps, because their table must not be locked for long.
pub(crate) async fn free_ids(
    tx: &Transaction,
    day: i64,
    after: Uuid,
    rows_max: u32,
) -> Result<Option<Uuid>, Fault> {
    let partition = Partitioned::Events.partition(day);
    let last = tx
        .query(&format!(
            "/* partitions.free_ids */ WITH read AS MATERIALIZED (SELECT e.organization_number, e.id, e.key, \
             {IS_RETAINED} AS is_retained \
         FROM {partition} e WHERE e.key > '{after}' ORDER BY e.key LIMIT {rows_max}), \
         freed AS (DELETE FROM event_ids i USING read r WHERE NOT r.is_retained \
             AND i.organization_number = r.organization_number AND i.id = r.id AND i.key = r.key) \
         SELECT max(key::text)::uuid FROM read"
        ))
        .await?;
    Ok(last.first().map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Drops a day of events whose ids were freed.
pub(crate) async fn drop_events(tx: &Transaction, day: i64) -> Result<Dropped, Fault> {
    let (partition, retained) = (Partitioned::Events.partition(day), Partitioned::Events.retained());
    lock(tx, day, &[Partitioned::Events]).await?;
    retain(tx, Partitioned::Events, day, IS_RETAINED).await?;
    // Reads the temporary table and not the condition again, because a delivery may have been removed since.
    let counts = format!(
        "/* partitions.count_events */ SELECT organization_number, sum(octet_length(payload))::bigint, count(*) \
         FROM {partition} e WHERE NOT EXISTS (SELECT FROM {retained} r WHERE r.key = e.key) \
         GROUP BY organization_number"
    );
    let mut ledger = Ledger::default();
    let events = subtract(tx, &counts, &mut ledger).await?;
    detach(tx, day, &[Partitioned::Events]).await?;
    reinsert_and_drop(tx, day, &[Partitioned::Events]).await?;
    ledger.write(tx).await?;
    tracing::info!(day, events, "a day of events was dropped");
    Ok(Dropped { deliveries: 0, events })
}

/// Blocks writers of a day during the scans.
async fn lock(tx: &Transaction, day: i64, tables: &[Partitioned]) -> Result<(), Fault> {
    tx.define(SCAN_LIMITS).await?;
    for table in tables {
        tx.define(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table.partition(day))).await?;
    }
    Ok(())
}

/// Copies the rows of a day that stay to a temporary table, which ends with the transaction, also behind a pooler. The condition
/// names a row `e`.
async fn retain(tx: &Transaction, table: Partitioned, day: i64, condition: &str) -> Result<(), Fault> {
    let (retained, partition) = (table.retained(), table.partition(day));
    tx.define(&format!(
        "CREATE TEMPORARY TABLE {retained} ON COMMIT DROP AS SELECT * FROM {partition} e WHERE {condition}; \
         ANALYZE {retained}"
    ))
    .await
}

/// Runs the query `counts`, and subtracts its bytes from the usage of their organizations. Returns the number of rows.
async fn subtract(tx: &Transaction, counts: &str, ledger: &mut Ledger) -> Result<u64, Fault> {
    let mut rows = 0;
    for row in tx.query(counts).await? {
        ledger.stored(row.try_get(0)?, -row.try_get::<_, i64>(1)?);
        rows += u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0);
    }
    Ok(rows)
}

/// Detaches a day from its tables. It waits for readers several times but only briefly, so that a long read neither delays other
/// transactions for long nor rolls back the scans.
async fn detach(tx: &Transaction, day: i64, tables: &[Partitioned]) -> Result<(), Fault> {
    let detach = |table: &Partitioned| {
        format!("; ALTER TABLE {} DETACH PARTITION {}", table.table(), table.partition(day))
    };
    let detach: Vec<String> = tables.iter().map(detach).collect();
    let detach = format!("SAVEPOINT scanned{}", detach.concat());
    tx.define(DETACH_LIMITS).await?;
    for _ in 1..TRIES_MAX {
        match tx.define(&detach).await {
            Err(fault) if is_lock_conflict(&fault) => tx.define("ROLLBACK TO SAVEPOINT scanned").await?,
            done => return done,
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    tx.define(&detach).await
}

fn is_lock_conflict(fault: &Fault) -> bool {
    let Fault::Driver(error) = fault else { return false };
    matches!(error.code(), Some(code) if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code))
}

/// Inserts the retained rows of a day into the default partition, and drops the day.
async fn reinsert_and_drop(tx: &Transaction, day: i64, tables: &[Partitioned]) -> Result<(), Fault> {
    tx.define(REINSERT_LIMITS).await?;
    for table in tables {
        let (name, retained, partition) = (table.table(), table.retained(), table.partition(day));
        tx.define(&format!("INSERT INTO {name} SELECT * FROM {retained}; DROP TABLE {partition}")).await?;
    }
    Ok(())
}
