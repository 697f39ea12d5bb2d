//! The partitions of the history, one for each UTC day.
//!
//! The tables of events, ended deliveries and attempts are partitioned by the time in their id; an attempt has the day of its
//! delivery. A partition is created before its day, and dropped as a whole after the retention period, which costs as much for
//! a million rows as for one. The default partitions (`…_rest`) have the few rows of days without a partition, which are removed
//! one by one.
//!
//! Some rows of a dropped day are still within the retention period: a delivery that ended late, or the event of a pending
//! delivery. They move to the default partition: see `dropping`.

mod dropping;

use stackbell_store::rows::Columns as _;
use uuid::Uuid;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

pub(crate) use dropping::{Dropped, drop_deliveries, drop_events, free_ids, past_deliveries, past_events};

pub(crate) const DAY_MS: i64 = 86_400_000;

/// The number of days that are created in advance. Without a sweep for so long, new rows go to the default partitions.
const DAYS_AHEAD: i64 = 7;

/// The partitioned tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partitioned {
    Events,
    Ended,
    Attempts,
}

impl Partitioned {
    const ALL: [Self; 3] = [Self::Events, Self::Ended, Self::Attempts];

    const fn table(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ended => "deliveries_ended",
            Self::Attempts => "attempts",
        }
    }

    const fn rest(self) -> &'static str {
        match self {
            Self::Events => "events_rest",
            Self::Ended => "deliveries_rest",
            Self::Attempts => "attempts_rest",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Events => "key",
            Self::Ended => "id",
            Self::Attempts => "delivery_id",
        }
    }

    /// The name of a day's partition.
    fn partition(self, day: i64) -> String {
        format!("{}_d{day}", self.table())
    }

    /// The name of the temporary table for the rows of a dropped day that stay.
    fn retained(self) -> String {
        format!("{}_retained", self.table())
    }
}

// One node at a time creates and drops days, because two nodes would conflict.
statement!(TRY_LOCK = "/* partitions.lock */ SELECT pg_try_advisory_xact_lock(1113943148)";);

statement!(TODAY = "/* partitions.today */ SELECT now_ms() / 86400000";);

statement!(LIST_DAYS = "/* partitions.days */ SELECT substring(c.relname FROM '_d([0-9]+)$')::bigint AS day \
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = to_regclass($1) AND c.relname ~ '_d[0-9]+$' ORDER BY day"; TEXT);

/// The smallest UUID of a day.
fn first_id(day: i64) -> Uuid {
    let milliseconds = u128::try_from(day * DAY_MS).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// Takes the lock for creating and dropping days; false if another node has it.
pub(crate) async fn try_lock(tx: &Transaction) -> Result<bool, Fault> {
    let locked = tx.first(&TRY_LOCK, &[], "partitions", |cursor| cursor.flag("lock")).await?;
    Ok(locked.unwrap_or(false))
}

async fn days(tx: &Transaction, table: Partitioned) -> Result<Vec<i64>, Fault> {
    tx.list(&LIST_DAYS, &[&table.table()], "partitions", |cursor| cursor.integer("day")).await
}

/// Creates the missing days from today, by the database's clock, to a week ahead.
pub(crate) async fn make_days(tx: &Transaction) -> Result<(), Fault> {
    let today = tx.first(&TODAY, &[], "partitions", |cursor| cursor.integer("today")).await?;
    let today = today.ok_or_else(|| Fault::missing("partitions", &"today"))?;
    for table in Partitioned::ALL {
        let existing = days(tx, table).await?;
        for day in (today..=today + DAYS_AHEAD).filter(|day| !existing.contains(day)) {
            make_day(tx, table, day).await?;
        }
    }
    Ok(())
}

/// Returns the missing days, in the given order, without those that are more than a week ahead.
pub(crate) async fn missing_days(tx: &Transaction, wanted: &[i64]) -> Result<Vec<i64>, Fault> {
    let today = tx.first(&TODAY, &[], "partitions", |cursor| cursor.integer("today")).await?;
    let last = today.ok_or_else(|| Fault::missing("partitions", &"today"))? + DAYS_AHEAD;
    // The three partitions of a day are created together.
    let existing = days(tx, Partitioned::Ended).await?;
    Ok(wanted.iter().copied().filter(|day| *day <= last && !existing.contains(day)).collect())
}

/// Creates these days, unless they exist.
pub(crate) async fn make_past_days(tx: &Transaction, wanted: &[i64]) -> Result<(), Fault> {
    for table in Partitioned::ALL {
        let existing = days(tx, table).await?;
        for day in wanted.iter().filter(|day| !existing.contains(day)) {
            make_day(tx, table, *day).await?;
        }
    }
    Ok(())
}

/// Creates a day. Its rows in the default partition, which a clock that was ahead put there, move into it.
///
/// The partition is created separately and then attached. `CREATE TABLE … PARTITION OF` would lock the whole table meanwhile.
async fn make_day(tx: &Transaction, partitioned: Partitioned, day: i64) -> Result<(), Fault> {
    let (table, rest, key) = (partitioned.table(), partitioned.rest(), partitioned.key());
    let partition = partitioned.partition(day);
    let (from, to) = (first_id(day), first_id(day + 1));
    tx.define(&format!(
        "CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES); \
         ALTER TABLE {partition} ADD CONSTRAINT day CHECK ({key} >= '{from}' AND {key} < '{to}'); \
         WITH moved AS (DELETE FROM {rest} WHERE {key} >= '{from}' AND {key} < '{to}' RETURNING *) \
             INSERT INTO {partition} SELECT * FROM moved; \
         ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}'); \
         ALTER TABLE {partition} DROP CONSTRAINT day"
    ))
    .await
}
