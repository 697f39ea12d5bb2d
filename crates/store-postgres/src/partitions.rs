//! The days that what happened is kept by.
//!
//! Events, ended deliveries and attempts lie in a partition for each UTC day, by the moment that their id, or their
//! delivery's, begins with. A day is made before it comes, and dropped whole once it is past: that costs as much for a
//! million rows as for one. What is of no day that was made lies in the partitions `…_rest`, whose rows are few and go one
//! by one.
//!
//! Of a day that is dropped, what is not past yet (a delivery that ended late, an event of one that is pending) moves into
//! the rest: see `dropping`.

mod dropping;

use stackbell_store::rows::Columns as _;
use uuid::Uuid;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

pub(crate) use dropping::{Dropped, drop_deliveries, drop_events, free_ids, past_deliveries, past_events};

pub(crate) const DAY_MS: i64 = 86_400_000;

/// How many days are made ahead: a database that nobody sweeps for so long takes in what comes all the same, into the rest.
const DAYS_AHEAD: i64 = 7;

/// The tables that are kept by day, and the column that says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Events,
    Ended,
    Attempts,
}

impl Kept {
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

    /// The name of the table that what stays of a day is laid into meanwhile.
    fn aside(self) -> String {
        format!("{}_aside", self.table())
    }
}

// Under one lock, by whoever comes first: two nodes that make or drop the same day would be in each other's way.
statement!(TRY_LOCK = "/* partitions.lock */ SELECT pg_try_advisory_xact_lock(1113943148)";);

statement!(TODAY = "/* partitions.today */ SELECT now_ms() / 86400000";);

statement!(LIST_DAYS = "/* partitions.days */ SELECT substring(c.relname FROM '_d([0-9]+)$')::bigint AS day \
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = to_regclass($1) AND c.relname ~ '_d[0-9]+$' ORDER BY day"; TEXT);

/// The least UUID of a day.
fn first_id(day: i64) -> Uuid {
    let milliseconds = u128::try_from(day * DAY_MS).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// Takes the lock of those who make and drop days; `false` when another node has it.
pub(crate) async fn try_lock(tx: &Transaction) -> Result<bool, Fault> {
    let locked = tx.first(&TRY_LOCK, &[], "partitions", |cursor| cursor.flag("lock")).await?;
    Ok(locked.unwrap_or(false))
}

async fn days(tx: &Transaction, kept: Kept) -> Result<Vec<i64>, Fault> {
    tx.list(&LIST_DAYS, &[&kept.table()], "partitions", |cursor| cursor.integer("day")).await
}

/// Makes the days from today, by the database's clock, to a week ahead that are not there yet.
pub(crate) async fn make_days(tx: &Transaction) -> Result<(), Fault> {
    let today = tx.first(&TODAY, &[], "partitions", |cursor| cursor.integer("today")).await?;
    let today = today.ok_or_else(|| Fault::missing("partitions", &"today"))?;
    for kept in Kept::ALL {
        let there = days(tx, kept).await?;
        for day in (today..=today + DAYS_AHEAD).filter(|day| !there.contains(day)) {
            make_day(tx, kept, day).await?;
        }
    }
    Ok(())
}

/// Those of these days that are not there, in their order. None that is further ahead than days are made.
pub(crate) async fn missing_days(tx: &Transaction, wanted: &[i64]) -> Result<Vec<i64>, Fault> {
    let today = tx.first(&TODAY, &[], "partitions", |cursor| cursor.integer("today")).await?;
    let last = today.ok_or_else(|| Fault::missing("partitions", &"today"))? + DAYS_AHEAD;
    // The three tables of a day are made together.
    let there = days(tx, Kept::Ended).await?;
    Ok(wanted.iter().copied().filter(|day| *day <= last && !there.contains(day)).collect())
}

/// Makes these days, where they are not there yet.
pub(crate) async fn make_past_days(tx: &Transaction, wanted: &[i64]) -> Result<(), Fault> {
    for kept in Kept::ALL {
        let there = days(tx, kept).await?;
        for day in wanted.iter().filter(|day| !there.contains(day)) {
            make_day(tx, kept, *day).await?;
        }
    }
    Ok(())
}

/// Makes a day. What of it lies in the rest, because a clock was ahead, moves into it.
///
/// Attached and not made in its place: that would keep everybody out of the whole table meanwhile.
async fn make_day(tx: &Transaction, kept: Kept, day: i64) -> Result<(), Fault> {
    let (table, rest, key, partition) = (kept.table(), kept.rest(), kept.key(), kept.partition(day));
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
