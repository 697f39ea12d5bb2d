//! The days that what happened is kept by.
//!
//! Events, ended deliveries and attempts lie in a partition for each UTC day, by the moment that their id, or their
//! delivery's, begins with. A day is made before it comes, and dropped whole once it is past: that costs as much for a
//! million rows as for one. What is of no day that was made lies in the partitions `…_rest`, whose rows are few and go one
//! by one.
//!
//! Of a day that is dropped, what is not past yet (a delivery that ended late, an event of one that is pending) moves into
//! the rest first.

use stackbell_model::Timestamp;
use stackbell_store::rows::Columns as _;
use uuid::Uuid;

use crate::error::Fault;
use crate::ledger::Ledger;
use crate::session::Transaction;
use crate::statement::statement;

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

/// The day that an id falls into, if it begins with a moment.
pub(crate) fn day_of(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).expect("48 bits") / DAY_MS
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
///
/// What is counted of them is counted while the day can still be read, and only then is it taken out of the table, which
/// keeps everybody else out for a moment.
pub(crate) async fn drop_deliveries(
    tx: &Transaction,
    day: i64,
    finished_before: Timestamp,
) -> Result<Dropped, Fault> {
    let (ended, attempts) = (Kept::Ended.partition(day), Kept::Attempts.partition(day));
    let has_attempts = days(tx, Kept::Attempts).await?.contains(&day);
    tx.define(&format!("LOCK TABLE {ended} IN SHARE ROW EXCLUSIVE MODE")).await?;
    let goes = format!("finished_at < {}", finished_before.as_millis());
    let mut ledger = Ledger::default();
    let counted = tx
        .ask(&format!(
            "/* partitions.count_deliveries */ SELECT organization_number, count(*), \
         coalesce(sum(octet_length(body)), 0)::bigint FROM {ended} WHERE {goes} GROUP BY organization_number"
        ))
        .await?;
    let mut dropped = Dropped::default();
    for row in counted {
        ledger.stored(row.try_get(0)?, -row.try_get::<_, i64>(2)?);
        dropped.deliveries += u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
    }
    if has_attempts {
        drop_attempts(tx, day, &attempts, &ended, &goes, &mut ledger).await?;
    }
    tx.define(&format!(
        "ALTER TABLE deliveries_ended DETACH PARTITION {ended}; \
         INSERT INTO deliveries_ended SELECT * FROM {ended} WHERE NOT ({goes}); DROP TABLE {ended}"
    ))
    .await?;
    ledger.write(tx).await?;
    tracing::info!(day, deliveries = dropped.deliveries, "a day of deliveries was dropped");
    Ok(dropped)
}

/// Of the attempts of a day those stay whose delivery does, ended or pending.
async fn drop_attempts(
    tx: &Transaction,
    day: i64,
    attempts: &str,
    ended: &str,
    goes: &str,
    ledger: &mut Ledger,
) -> Result<(), Fault> {
    let (from, to) = (first_id(day), first_id(day + 1));
    let stays = format!(
        "(a.delivery_id IN (SELECT id FROM {ended} WHERE NOT ({goes})) OR a.delivery_id IN \
         (SELECT id FROM deliveries_pending WHERE id >= '{from}' AND id < '{to}'))"
    );
    tx.define(&format!("LOCK TABLE {attempts} IN SHARE ROW EXCLUSIVE MODE")).await?;
    let counted = tx.ask(&format!(
        "/* partitions.count_attempts */ SELECT w.organization_number, sum(octet_length(a.request_headers) \
         + coalesce(octet_length(a.response_headers), 0) + coalesce(octet_length(a.response_body), 0))::bigint \
         FROM {attempts} a JOIN webhooks w ON w.number = a.webhook_number WHERE NOT {stays} \
         GROUP BY w.organization_number"
    )).await?;
    for row in counted {
        ledger.stored(row.try_get(0)?, -row.try_get::<_, i64>(1)?);
    }
    tx.define(&format!(
        "ALTER TABLE attempts DETACH PARTITION {attempts}; \
         INSERT INTO attempts SELECT * FROM {attempts} a WHERE {stays}; DROP TABLE {attempts}"
    ))
    .await
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
    let rows = tx.ask(&format!(
        "/* partitions.free_ids */ WITH looked AS MATERIALIZED (SELECT e.organization_number, e.id, e.key, {STAYS} AS stays \
         FROM {partition} e WHERE e.key > '{after}' ORDER BY e.key LIMIT {rows_max}), \
         freed AS (DELETE FROM event_ids i USING looked l WHERE NOT l.stays \
             AND i.organization_number = l.organization_number AND i.id = l.id AND i.key = l.key) \
         SELECT max(key::text)::uuid FROM looked"
    )).await?;
    let last = rows;
    Ok(last.first().map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Drops a day of events whose ids were freed.
pub(crate) async fn drop_events(tx: &Transaction, day: i64) -> Result<Dropped, Fault> {
    let partition = Kept::Events.partition(day);
    tx.define(&format!("LOCK TABLE {partition} IN SHARE ROW EXCLUSIVE MODE")).await?;
    let mut ledger = Ledger::default();
    let counted = tx.ask(&format!(
        "/* partitions.count_events */ SELECT organization_number, count(*), sum(octet_length(payload))::bigint \
         FROM {partition} e WHERE NOT {STAYS} GROUP BY organization_number"
    )).await?;
    let mut dropped = Dropped::default();
    for row in counted {
        ledger.stored(row.try_get(0)?, -row.try_get::<_, i64>(2)?);
        dropped.events += u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
    }
    tx.define(&format!(
        "ALTER TABLE events DETACH PARTITION {partition}; \
         INSERT INTO events SELECT * FROM {partition} e WHERE {STAYS}; DROP TABLE {partition}"
    ))
    .await?;
    ledger.write(tx).await?;
    tracing::info!(day, events = dropped.events, "a day of events was dropped");
    Ok(dropped)
}
