//! Background maintenance.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::WebhookId;
use stackbell_store::StoreError;
use stackbell_store::maintenance::{Depth, LaneDepth, Maintenance, SweepPolicy, SweepReport};

use crate::SqliteStore;
use crate::error::Fault;
use crate::instance::find_hold;
use crate::leases::Leases;
use crate::ledger::{Account, Ledger};
use crate::rows::{change, first, list};
use stackbell_store::rows::{Columns as _, Id as _};

pub(crate) const FIND_ORPHANS: &str = "/* sweep.orphans */ SELECT d.number, w.number, \
    w.organization_number, w.deleted_by \
    FROM webhooks w INDEXED BY webhooks_deleted \
    JOIN deliveries d INDEXED BY deliveries_pending ON d.webhook_number = w.number AND d.state = 'pending' \
    WHERE w.deleted_at IS NOT NULL LIMIT ?1";

pub(crate) const CANCEL: &str = "/* sweep.cancel */ UPDATE deliveries SET state = 'cancelled', \
    due_at = NULL, finished_at = ?2, cancel_reason = 'webhook_deleted', cancelled_by = ?3 \
    WHERE number = ?1 AND state = 'pending'";

/// `lane` has the rowids of the webhooks with pending deliveries, after a 0: one step in the queue's index for each of them,
/// whatever the number of webhooks.
macro_rules! with_lanes {
    () => {
        "WITH RECURSIVE lane (number) AS (VALUES (0) UNION ALL \
            SELECT w.number FROM lane JOIN webhooks w ON w.number = (SELECT d.webhook_number FROM deliveries d \
                WHERE d.state = 'pending' AND d.webhook_number > lane.number ORDER BY d.webhook_number LIMIT 1)) "
    };
}

pub(crate) const FIND_AGED_LANES: &str = concat!(
    "/* sweep.aged_lanes */ ",
    with_lanes!(),
    "SELECT lane.number FROM lane WHERE EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_pending_by_age \
        WHERE d.webhook_number = lane.number AND d.state = 'pending' AND ifnull(d.rearmed_at, d.created_at) <= ?1)"
);

pub(crate) const FIND_HOLD: &str = "/* sweep.hold */ SELECT organization_number, \
    active AND suspended_since IS NULL, hold_ended_at FROM webhooks WHERE number = ?1 AND deleted_at IS NULL";

/// Pending deliveries that were created or rearmed between two times, inclusive, oldest first.
pub(crate) const FIND_AGED: &str = "/* sweep.aged */ SELECT number FROM deliveries \
    INDEXED BY deliveries_pending_by_age WHERE webhook_number = ?1 AND state = 'pending' \
    AND ifnull(rearmed_at, created_at) BETWEEN ?2 AND ?3 \
    ORDER BY ifnull(rearmed_at, created_at)";

pub(crate) const EXPIRE: &str = "/* sweep.expire */ UPDATE deliveries SET state = 'failed', due_at = NULL, \
    finished_at = ?2, fail_reason = 'expired' WHERE number = ?1 AND state = 'pending'";

pub(crate) const FIND_FINISHED: &str = "/* sweep.finished */ SELECT d.number, d.event_number, \
    w.organization_number, ifnull(length(d.body), 0) + ifnull((SELECT SUM(length(request_headers) \
        + ifnull(length(response_headers), 0) + ifnull(length(response_body), 0)) \
        FROM attempts WHERE delivery_number = d.number), 0) \
    FROM deliveries d INDEXED BY deliveries_finished CROSS JOIN webhooks w ON w.number = d.webhook_number \
    WHERE d.finished_at < ?1 ORDER BY d.finished_at LIMIT ?2";

/// Removes its attempts too, by the foreign key.
pub(crate) const REMOVE_DELIVERY: &str =
    "/* sweep.remove_delivery */ DELETE FROM deliveries WHERE number = ?1";

pub(crate) const RELEASE_EVENT: &str =
    "/* sweep.release_event */ UPDATE events SET deliveries_left = deliveries_left - 1 WHERE number = ?1";

pub(crate) const REMOVE_EVENTS: &str = "/* sweep.remove_events */ DELETE FROM events WHERE number IN \
    (SELECT number FROM events WHERE deliveries_left = 0 AND accepted_at < ?1 ORDER BY accepted_at LIMIT ?2) \
    RETURNING organization_number, length(payload)";

pub(crate) const REMOVE_RECOVERIES: &str = "/* sweep.remove_recoveries */ DELETE FROM recoveries WHERE id IN \
    (SELECT id FROM recoveries WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)";

pub(crate) const REMOVE_TALLIES: &str = "/* sweep.remove_tallies */ DELETE FROM tallies \
    WHERE (hour, organization_number, webhook_number) IN \
    (SELECT hour, organization_number, webhook_number FROM tallies WHERE hour < ?1 ORDER BY hour LIMIT ?2)";

pub(crate) const REMOVE_AUDIT: &str = "/* sweep.remove_audit */ DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)";

/// Webhooks that were deleted later are not read, because most of them still have deliveries.
pub(crate) const REMOVE_WEBHOOKS: &str = "/* sweep.remove_webhooks */ DELETE FROM webhooks WHERE number IN \
    (SELECT w.number FROM webhooks w WHERE w.deleted_at < ?1 \
     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_number = w.number) LIMIT ?2)";

pub(crate) const COUNT_PENDING: &str =
    "/* depth.pending */ SELECT ifnull(SUM(pending), 0) AS number FROM organizations";

/// Takes one step in the queue's index for each lane, then reads all entries of the lanes on the page.
pub(crate) const LANE_DEPTHS: &str = "/* lane_depths */ WITH RECURSIVE \
    lane (number, id, active, suspended, found) AS ( \
        SELECT ifnull((SELECT number FROM webhooks WHERE id = ?2), 0), NULL, NULL, NULL, 0 \
        UNION ALL \
        SELECT next.number, w.id, w.active, w.suspended_since IS NOT NULL, lane.found + (w.id IS NOT NULL) \
        FROM lane JOIN webhooks next ON next.number = (SELECT p.webhook_number FROM deliveries p \
            WHERE p.state = 'pending' AND p.webhook_number > lane.number ORDER BY p.webhook_number LIMIT 1) \
        LEFT JOIN webhooks w ON w.number = next.number AND w.deleted_at IS NULL \
        WHERE lane.found < ?3) \
    SELECT lane.id, lane.active, lane.suspended, \
        (SELECT COUNT(*) FROM deliveries p INDEXED BY deliveries_pending \
            WHERE p.webhook_number = lane.number AND p.state = 'pending' AND p.due_at <= ?1), \
        (SELECT COUNT(*) FROM deliveries p INDEXED BY deliveries_pending \
            WHERE p.webhook_number = lane.number AND p.state = 'pending' AND p.due_at > ?1), \
        (SELECT MIN(p.due_at) FROM deliveries p WHERE p.webhook_number = lane.number AND p.state = 'pending') \
    FROM lane WHERE lane.id IS NOT NULL ORDER BY lane.number";

pub(crate) const COUNT_SUSPENDED: &str = "/* depth.suspended */ SELECT COUNT(*) FROM webhooks \
    WHERE suspended_since IS NOT NULL AND deleted_at IS NULL";

const CHECK_WRITE: &str = "/* check.write */ UPDATE meta SET checks = checks + 1";

const CHECK_READ: &str = "/* check.read */ SELECT checks FROM meta";

#[async_trait]
impl Maintenance for SqliteStore {
    /// A reader first finds the webhooks with old deliveries, so that the writer visits these only.
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
            let is_sending_held = find_hold(connection)?.is_some();
            let ledger = Ledger::default();
            let sweep = Sweep { connection, leases, ledger, now, policy: &policy, is_sending_held };
            sweep.run(&aged)
        })
        .await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.read("depth", |connection| {
            let pending =
                first(connection, COUNT_PENDING, [], "organizations", |cursor| cursor.count("pending"))?;
            let suspended =
                first(connection, COUNT_SUSPENDED, [], "webhooks", |cursor| cursor.count("number"))?;
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
        self.read("lane_depths", move |connection| {
            // The empty id is less than every id.
            let after: &[u8] = after.as_ref().map_or(&[], |after| after.bytes());
            let parameters = params![now.as_millis(), after, limit];
            list(connection, LANE_DEPTHS, parameters, "webhooks", |cursor| {
                Ok(LaneDepth {
                    webhook: cursor.id("id")?,
                    active: cursor.get("active")?,
                    suspended: cursor.get("suspended_since")?,
                    due: cursor.count("due_at")?,
                    later: cursor.count("due_at")?,
                    first_due: cursor.time("due_at")?,
                })
            })
        })
        .await
    }

    /// Writes and syncs a row, because only a write reveals a disk that is full or read-only.
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

/// Whether a webhook's deliveries are held, or when their hold ended.
struct Hold {
    organization_number: i64,
    is_held: bool,
    ended_at: Option<Timestamp>,
}

struct Sweep<'sweep> {
    connection: &'sweep Connection,
    leases: &'sweep mut Leases,
    ledger: Ledger,
    now: Timestamp,
    policy: &'sweep SweepPolicy,
    is_sending_held: bool,
}

impl Sweep<'_> {
    fn run(mut self, aged: &[i64]) -> Result<SweepReport, Fault> {
        self.leases.end_stale(self.now);
        let mut report = SweepReport {
            cancelled: self.cancel()?,
            expired: self.expire(aged)?,
            deliveries_removed: self.remove_deliveries()?,
            events_removed: self.remove_events()?,
            audit_removed: self.remove(REMOVE_AUDIT, self.policy.audit_before)?,
            more: false,
        };
        let webhooks_removed = self.remove(REMOVE_WEBHOOKS, self.policy.finished_before)?;
        let recoveries_removed = self.remove(REMOVE_RECOVERIES, self.policy.audit_before)?;
        let tallies_removed = self.remove(REMOVE_TALLIES, self.policy.audit_before)?;
        report.more = [
            report.cancelled,
            report.expired,
            report.deliveries_removed,
            report.events_removed,
            report.audit_removed,
            webhooks_removed,
            recoveries_removed,
            tallies_removed,
        ]
        .into_iter()
        .any(|rows| rows >= u64::from(self.policy.rows_max));
        self.ledger.write(self.connection)?;
        Ok(report)
    }

    fn cancel(&mut self) -> Result<u64, Fault> {
        let orphans = list(self.connection, FIND_ORPHANS, [self.policy.rows_max], "deliveries", |cursor| {
            let number = cursor.get::<i64>("number")?;
            let webhook = cursor.get("webhook_number")?;
            let account = Account { webhook, organization: cursor.get("organization_number")? };
            Ok((number, account, cursor.get::<Box<str>>("cancelled_by")?))
        })?;
        for (number, account, by) in &orphans {
            change(self.connection, CANCEL, params![number, self.now.as_millis(), by])?;
            self.end(*number, *account, StateKind::Cancelled);
        }
        Ok(orphans.len() as u64)
    }

    /// Expires old deliveries. `aged` has the rowids of the webhooks that may have some.
    fn expire(&mut self, aged: &[i64]) -> Result<u64, Fault> {
        let rows_max = usize::try_from(self.policy.rows_max).unwrap_or(usize::MAX);
        let mut expired = Vec::new();
        for webhook_number in aged {
            let hold = first(self.connection, FIND_HOLD, [webhook_number], "webhooks", |cursor| {
                let organization_number = cursor.get("organization_number")?;
                let is_held = !cursor.get::<bool>("active")?;
                Ok(Hold { organization_number, is_held, ended_at: cursor.time_or_null("hold_ended_at")? })
            })?;
            let Some(mut hold) = hold else { continue };
            hold.is_held |= self.is_sending_held;
            let account = Account { organization: hold.organization_number, webhook: *webhook_number };
            for (first, last) in self.policy.retry.expired_windows(self.now, hold.is_held, hold.ended_at) {
                self.find_unleased(account, first, last, rows_max, &mut expired)?;
            }
        }
        for (number, account) in &expired {
            change(self.connection, EXPIRE, params![number, self.now.as_millis()])?;
            self.end(*number, *account, StateKind::Failed);
        }
        Ok(expired.len() as u64)
    }

    /// Ends the lease of a delivery that is no longer pending, and updates the counts.
    fn end(&mut self, number: i64, account: Account, state: StateKind) {
        self.leases.end(number);
        self.ledger.pending(account.organization, -1);
        self.ledger.ended(account, self.now, state);
    }

    /// Adds the unleased deliveries of a lane that were created or rearmed in this period to `found`, up to `rows_max` in total.
    fn find_unleased(
        &self,
        account: Account,
        first: Timestamp,
        last: Timestamp,
        rows_max: usize,
        found: &mut Vec<(i64, Account)>,
    ) -> Result<(), Fault> {
        let mut statement = self.connection.prepare_cached(FIND_AGED)?;
        let mut rows = statement.query(params![account.webhook, first.as_millis(), last.as_millis()])?;
        while found.len() < rows_max
            && let Some(row) = rows.next()?
        {
            let number = row.get(0)?;
            if self.leases.held_until(number, self.now).is_none() {
                found.push((number, account));
            }
        }
        Ok(())
    }

    fn remove_deliveries(&mut self) -> Result<u64, Fault> {
        let parameters = params![self.policy.finished_before.as_millis(), self.policy.rows_max];
        let finished = list(self.connection, FIND_FINISHED, parameters, "deliveries", |cursor| {
            let numbers = (cursor.get::<i64>("number")?, cursor.get::<Option<i64>>("event_number")?);
            Ok((numbers, cursor.get("organization_number")?, cursor.get::<i64>("body")?))
        })?;
        for ((number, event_number), organization_number, bytes) in &finished {
            self.ledger.stored(*organization_number, -bytes);
            change(self.connection, REMOVE_DELIVERY, [number])?;
            change(self.connection, RELEASE_EVENT, [event_number])?;
        }
        Ok(finished.len() as u64)
    }

    fn remove_events(&mut self) -> Result<u64, Fault> {
        let parameters = params![self.policy.finished_before.as_millis(), self.policy.rows_max];
        let removed = list(self.connection, REMOVE_EVENTS, parameters, "events", |cursor| {
            Ok((cursor.get::<i64>("organization_number")?, cursor.get::<i64>("payload")?))
        })?;
        for (organization_number, bytes) in &removed {
            self.ledger.stored(*organization_number, -bytes);
        }
        Ok(removed.len() as u64)
    }

    fn remove(&self, sql: &str, before: Timestamp) -> Result<u64, Fault> {
        let removed = change(self.connection, sql, params![before.as_millis(), self.policy.rows_max])?;
        Ok(removed as u64)
    }
}
