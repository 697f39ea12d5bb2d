//! Upkeep.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::retry::RetryPolicy;
use stackbell_store::StoreError;
use stackbell_store::maintenance::{Depth, Maintenance, SweepPolicy, SweepReport};

use crate::SqliteStore;
use crate::error::Fault;
use crate::leases::Leases;
use crate::rows::{change, first, list};

pub(crate) const FIND_ORPHANS: &str = "/* sweep.orphans */ SELECT d.number, w.deleted_by \
    FROM webhooks w INDEXED BY webhooks_deleted \
    JOIN deliveries d INDEXED BY deliveries_pending ON d.webhook_number = w.number AND d.state = 'pending' \
    WHERE w.deleted_at IS NOT NULL LIMIT ?1";

pub(crate) const CANCEL: &str = "/* sweep.cancel */ UPDATE deliveries SET state = 'cancelled', \
    due_at = NULL, finished_at = ?2, cancelled_by = ?3 WHERE number = ?1 AND state = 'pending'";

/// One step into the index by age for each webhook.
pub(crate) const FIND_AGED_LANES: &str = "/* sweep.aged_lanes */ SELECT w.number FROM webhooks w \
    WHERE w.deleted_at IS NULL AND EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_pending_by_age \
        WHERE d.webhook_number = w.number AND d.state = 'pending' AND d.created_at <= ?1)";

pub(crate) const FIND_HOLD: &str = "/* sweep.hold */ SELECT active AND suspended_since IS NULL, \
    hold_ended_at FROM webhooks WHERE number = ?1 AND deleted_at IS NULL";

/// Those made between two moments, both included: the oldest first.
pub(crate) const FIND_AGED: &str = "/* sweep.aged */ SELECT number FROM deliveries \
    INDEXED BY deliveries_pending_by_age WHERE webhook_number = ?1 AND state = 'pending' \
    AND created_at BETWEEN ?2 AND ?3 ORDER BY created_at";

pub(crate) const EXPIRE: &str = "/* sweep.expire */ UPDATE deliveries SET state = 'failed', due_at = NULL, \
    finished_at = ?2, fail_reason = 'expired' WHERE number = ?1 AND state = 'pending'";

pub(crate) const FIND_FINISHED: &str = "/* sweep.finished */ SELECT number, event_number FROM deliveries \
    WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2";

/// Its attempts go with it.
pub(crate) const REMOVE_DELIVERY: &str =
    "/* sweep.remove_delivery */ DELETE FROM deliveries WHERE number = ?1";

pub(crate) const RELEASE_EVENT: &str =
    "/* sweep.release_event */ UPDATE events SET deliveries_left = deliveries_left - 1 WHERE number = ?1";

pub(crate) const REMOVE_EVENTS: &str = "/* sweep.remove_events */ DELETE FROM events WHERE number IN \
    (SELECT number FROM events WHERE deliveries_left = 0 AND accepted_at < ?1 ORDER BY accepted_at LIMIT ?2)";

pub(crate) const REMOVE_AUDIT: &str = "/* sweep.remove_audit */ DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)";

/// Those deleted later are likely to have deliveries yet, and are not asked.
pub(crate) const REMOVE_WEBHOOKS: &str = "/* sweep.remove_webhooks */ DELETE FROM webhooks WHERE number IN \
    (SELECT w.number FROM webhooks w WHERE w.deleted_at < ?1 \
     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_number = w.number) LIMIT ?2)";

pub(crate) const COUNT_PENDING: &str =
    "/* depth.pending */ SELECT COUNT(*) AS number FROM deliveries WHERE state = 'pending'";

/// One step of an index for each webhook.
pub(crate) const OLDEST_DUE: &str = "/* depth.oldest_due */ SELECT MIN((SELECT MIN(d.due_at) FROM deliveries d \
    WHERE d.webhook_number = w.number AND d.state = 'pending')) AS due_at FROM webhooks w \
    WHERE w.active = 1 AND w.suspended_since IS NULL AND w.deleted_at IS NULL";

pub(crate) const COUNT_SUSPENDED: &str = "/* depth.suspended */ SELECT COUNT(*) FROM webhooks \
    WHERE suspended_since IS NOT NULL AND deleted_at IS NULL";

const CHECK_WRITE: &str = "/* check.write */ UPDATE meta SET checks = checks + 1";

const CHECK_READ: &str = "/* check.read */ SELECT checks FROM meta";

#[async_trait]
impl Maintenance for SqliteStore {
    /// Webhooks are looked through for old deliveries by a reader first, so that the writer only visits those that have some.
    async fn sweep(&self, now: Timestamp, policy: &SweepPolicy) -> Result<SweepReport, StoreError> {
        let policy = policy.clone();
        let made_before = now.before(policy.retry.age_max.min(policy.retry.held_age_max));
        let aged = self.read("sweep", move |connection| {
            list(connection, FIND_AGED_LANES, [made_before.as_millis()], "webhooks", |cursor| {
                cursor.get("number")
            })
        });
        let aged: Vec<i64> = aged.await?;
        self.write("sweep", move |connection, leases| {
            Sweep { connection, leases, now, policy: &policy }.run(&aged)
        })
        .await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.read("depth", |connection| {
            let pending =
                first(connection, COUNT_PENDING, [], "deliveries", |cursor| cursor.count("number"))?;
            let oldest_due =
                first(connection, OLDEST_DUE, [], "deliveries", |cursor| cursor.time_or_null("due_at"))?
                    .flatten();
            let suspended =
                first(connection, COUNT_SUSPENDED, [], "webhooks", |cursor| cursor.count("number"))?;
            Ok(Depth {
                pending: pending.unwrap_or_default(),
                oldest_due,
                suspended: suspended.unwrap_or_default(),
            })
        })
        .await
    }

    /// A real write, synced like any other: only that shows a disk that is full or has become read-only.
    async fn check(&self) -> Result<(), StoreError> {
        self.write("check", |connection, _| Ok(change(connection, CHECK_WRITE, []).map(|_| ())?)).await?;
        self.read("check", |connection| {
            first(connection, CHECK_READ, [], "meta", |cursor| cursor.count("checks"))?
                .map(|_| ())
                .ok_or_else(|| Fault::missing("meta", &1))
        })
        .await
    }
}

/// Whether a webhook's deliveries wait, or until when they did.
struct Hold {
    is_held: bool,
    ended_at: Option<Timestamp>,
}

struct Sweep<'sweep> {
    connection: &'sweep Connection,
    leases: &'sweep mut Leases,
    now: Timestamp,
    policy: &'sweep SweepPolicy,
}

impl Sweep<'_> {
    fn run(&mut self, aged: &[i64]) -> Result<SweepReport, Fault> {
        self.leases.end_stale(self.now);
        let mut report = SweepReport {
            cancelled: self.cancel()?,
            expired: self.expire(aged)?,
            deliveries_removed: self.remove_deliveries()?,
            events_removed: self.remove(REMOVE_EVENTS, self.policy.finished_before)?,
            audit_removed: self.remove(REMOVE_AUDIT, self.policy.audit_before)?,
            more: false,
        };
        let webhooks_removed = self.remove(REMOVE_WEBHOOKS, self.policy.finished_before)?;
        report.more = [
            report.cancelled,
            report.expired,
            report.deliveries_removed,
            report.events_removed,
            report.audit_removed,
            webhooks_removed,
        ]
        .into_iter()
        .any(|rows| rows >= u64::from(self.policy.rows_max));
        Ok(report)
    }

    fn cancel(&mut self) -> Result<u64, Fault> {
        let orphans = list(self.connection, FIND_ORPHANS, [self.policy.rows_max], "deliveries", |cursor| {
            Ok((cursor.get::<i64>("number")?, cursor.get::<Box<str>>("cancelled_by")?))
        })?;
        for (number, by) in &orphans {
            change(self.connection, CANCEL, params![number, self.now.as_millis(), by])?;
            self.leases.end(*number);
        }
        Ok(orphans.len() as u64)
    }

    /// `aged` are the numbers of the webhooks that have any.
    fn expire(&mut self, aged: &[i64]) -> Result<u64, Fault> {
        let rows_max = usize::try_from(self.policy.rows_max).unwrap_or(usize::MAX);
        let mut expired = Vec::new();
        for webhook_number in aged {
            let hold = first(self.connection, FIND_HOLD, [webhook_number], "webhooks", |cursor| {
                let is_held = !cursor.get::<bool>("active")?;
                Ok(Hold { is_held, ended_at: cursor.time_or_null("hold_ended_at")? })
            })?;
            let Some(hold) = hold else { continue };
            for (first, last) in too_old(&self.policy.retry, &hold, self.now) {
                self.find_unleased(*webhook_number, first, last, rows_max, &mut expired)?;
            }
        }
        for number in &expired {
            change(self.connection, EXPIRE, params![number, self.now.as_millis()])?;
            self.leases.end(*number);
        }
        Ok(expired.len() as u64)
    }

    /// Adds to `found`, up to `rows_max` in all, the unleased deliveries of a lane that were made in that time.
    fn find_unleased(
        &self,
        webhook_number: i64,
        first: Timestamp,
        last: Timestamp,
        rows_max: usize,
        found: &mut Vec<i64>,
    ) -> Result<(), Fault> {
        let mut statement = self.connection.prepare_cached(FIND_AGED)?;
        let mut rows = statement.query(params![webhook_number, first.as_millis(), last.as_millis()])?;
        while found.len() < rows_max
            && let Some(row) = rows.next()?
        {
            let number = row.get(0)?;
            if self.leases.held_until(number, self.now).is_none() {
                found.push(number);
            }
        }
        Ok(())
    }

    fn remove_deliveries(&mut self) -> Result<u64, Fault> {
        let parameters = params![self.policy.finished_before.as_millis(), self.policy.rows_max];
        let finished = list(self.connection, FIND_FINISHED, parameters, "deliveries", |cursor| {
            Ok((cursor.get::<i64>("number")?, cursor.get::<Option<i64>>("event_number")?))
        })?;
        for (number, event_number) in &finished {
            change(self.connection, REMOVE_DELIVERY, [number])?;
            change(self.connection, RELEASE_EVENT, [event_number])?;
        }
        Ok(finished.len() as u64)
    }

    fn remove(&self, sql: &str, before: Timestamp) -> Result<u64, Fault> {
        let removed = change(self.connection, sql, params![before.as_millis(), self.policy.rows_max])?;
        Ok(removed as u64)
    }
}

/// Between which moments (both included) deliveries were made that [`RetryPolicy::is_expired`] says are too old.
fn too_old(retry: &RetryPolicy, hold: &Hold, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let beginning = Timestamp::from_millis(i64::MIN);
    let too_old_if_held = now.before(retry.held_age_max);
    let too_old_else = now.before(retry.age_max);
    match hold.ended_at {
        _ if hold.is_held => vec![(beginning, too_old_if_held)],
        None => vec![(beginning, too_old_else)],
        Some(ended) => {
            let last_before = ended.before(Duration::from_millis(1));
            vec![(beginning, last_before.min(too_old_if_held)), (ended, too_old_else)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The query's times must say what the rule says, for every age.
    fn check(is_held: bool, ended_at: Option<i64>) {
        let day = Duration::from_secs(24 * 3600);
        let retry = RetryPolicy { age_max: 7 * day, held_age_max: 14 * day, ..RetryPolicy::default() };
        let at = |days: i64| Timestamp::from_millis(days * 24 * 3_600_000);
        let (now, ended_at) = (at(20), ended_at.map(at));
        let windows = too_old(&retry, &Hold { is_held, ended_at }, now);
        for created_at in
            (0..=21).flat_map(|day| [-1, 0, 1].map(|ms| Timestamp::from_millis(at(day).as_millis() + ms)))
        {
            let found =
                windows.iter().filter(|(first, last)| *first <= created_at && created_at <= *last).count();
            let expected = usize::from(retry.is_expired(now, is_held, created_at, ended_at));
            assert_eq!(found, expected, "{created_at:?}, held {is_held}, until {ended_at:?}");
        }
    }

    #[test]
    fn too_old_is_what_the_rule_says() {
        for is_held in [false, true] {
            check(is_held, None);
            for ended_at in [0, 5, 6, 7, 12, 13, 14, 19, 20] {
                check(is_held, Some(ended_at));
            }
        }
    }
}
