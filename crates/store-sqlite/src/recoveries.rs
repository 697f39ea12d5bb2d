//! Retries of ended deliveries, and cancellation of pending ones.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::recovery::Recovery;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::recoveries::{DeliveryChange, Recoveries, RecoveryCreated};

use crate::SqliteStore;
use crate::error::Fault;
use crate::history::deliveries::find_number;
use crate::ledger::{Account, Ledger};
use crate::rows::audit::insert_audit;
use crate::rows::{change, first, list};
use stackbell_store::recovery_columns;
use stackbell_store::rows::recovery::read_recovery;
use stackbell_store::rows::{Columns as _, Id, integer};

/// A reader found the rowid. The id shows that no other delivery has the rowid now.
pub(crate) const FIND_CHANGED: &str = "/* change_delivery.find */ SELECT d.state, w.number, \
    w.organization_number, w.id, w.deleted_at IS NOT NULL FROM deliveries d \
    JOIN webhooks w ON w.number = d.webhook_number \
    WHERE d.number = ?1 AND d.id = ?2 AND d.event_number IS NOT NULL";

pub(crate) const CANCEL: &str = "/* cancel_delivery */ UPDATE deliveries SET state = 'cancelled', \
    due_at = NULL, finished_at = ?2, cancel_reason = 'asked', cancelled_by = ?3 WHERE number = ?1";

/// Reads one entry of the queue's index: the first of the other deliveries.
pub(crate) const HASTEN: &str = "/* retry_delivery.first */ UPDATE deliveries SET due_at = min(?2, ifnull( \
    (SELECT o.due_at - 1 FROM deliveries o WHERE o.webhook_number = deliveries.webhook_number \
        AND o.state = 'pending' AND o.number <> ?1 ORDER BY o.due_at LIMIT 1), ?2)) WHERE number = ?1";

pub(crate) const REARM: &str = "/* retry_delivery.ended */ UPDATE deliveries SET state = 'pending', \
    due_at = ?2, rearmed_at = ?2, attempts_spent = 0, finished_at = NULL, fail_reason = NULL, \
    cancel_reason = NULL, cancelled_by = NULL WHERE number = ?1";

pub(crate) const COUNT: &str = "/* count_recoverable */ SELECT COUNT(*) FROM webhooks w \
    JOIN deliveries d INDEXED BY deliveries_lost_by_age ON d.webhook_number = w.number \
    AND (d.state = 'failed' OR d.state = 'cancelled') \
    WHERE w.id = ?1 AND d.created_at >= ?2 AND d.event_number IS NOT NULL";

pub(crate) const FIND_WEBHOOK: &str = "/* create_recovery.webhook */ SELECT organization_number FROM webhooks \
    WHERE id = ?1 AND deleted_at IS NULL \
    AND organization_number = (SELECT number FROM organizations WHERE id = ?2)";

pub(crate) const FIND_RUNNING: &str =
    "/* create_recovery.running */ SELECT id FROM recoveries WHERE webhook = ?1 AND state = 'running'";

const INSERT: &str = "/* create_recovery */ INSERT INTO recoveries (id, organization_number, webhook, since, \
    created_at, created_by, total, rearmed, after_created_at, after_id, state) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?4, x'', 'running')";

pub(crate) const FIND: &str = concat!(
    "/* recovery */ SELECT ",
    recovery_columns!(),
    " FROM recoveries r JOIN organizations o ON o.number = r.organization_number WHERE r.id = ?1"
);

/// `?2` is greater than every id on the first page.
pub(crate) const LIST: &str = concat!(
    "/* list_recoveries */ SELECT ",
    recovery_columns!(),
    " FROM organizations o JOIN recoveries r ON r.organization_number = o.number \
     WHERE o.id = ?1 AND r.id < ?2 ORDER BY r.id DESC LIMIT ?3"
);

/// There is at most one for each webhook: few enough to sort.
pub(crate) const RUNNING: &str = concat!(
    "/* running_recoveries */ SELECT ",
    recovery_columns!(),
    " FROM recoveries r INDEXED BY recoveries_running JOIN organizations o ON o.number = r.organization_number \
     WHERE r.state = 'running' ORDER BY r.id LIMIT ?1"
);

pub(crate) const FIND_STEP: &str = "/* advance_recovery.find */ SELECT r.after_created_at, r.after_id, \
    r.created_at, w.number, r.organization_number FROM recoveries r \
    LEFT JOIN webhooks w ON w.id = r.webhook AND w.deleted_at IS NULL WHERE r.id = ?1 AND r.state = 'running'";

pub(crate) const FIND_LOST: &str = "/* advance_recovery.lost */ SELECT number, created_at, id FROM deliveries \
    INDEXED BY deliveries_lost_by_age WHERE webhook_number = ?1 AND (state = 'failed' OR state = 'cancelled') \
    AND (created_at, id) > (?2, ?3) AND finished_at <= ?4 AND event_number IS NOT NULL \
    ORDER BY created_at, id LIMIT ?5";

const ADVANCE: &str = "/* advance_recovery */ UPDATE recoveries SET rearmed = rearmed + ?2, \
    after_created_at = ?3, after_id = ?4, state = ?5, ended_at = ?6 WHERE id = ?1";

/// Greater than every id.
const LAST: [u8; 17] = [0xff; 17];

/// The delivery to change.
struct Changed {
    number: i64,
    state: StateKind,
    account: Account,
    webhook: WebhookId,
    is_webhook_deleted: bool,
}

/// The position of a running recovery. `webhook_number` is `None` if its webhook was deleted.
struct Step {
    after_created_at: i64,
    after_id: Vec<u8>,
    created_at: i64,
    webhook_number: Option<i64>,
    organization_number: i64,
}

#[async_trait]
impl Recoveries for SqliteStore {
    async fn cancel_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let number = self.find_delivery_number("cancel_delivery", organization, delivery).await?;
        let Some(number) = number else { return Ok(DeliveryChange::Missing) };
        self.write("cancel_delivery", move |connection, leases| {
            let Some(found) = find_changed(connection, number, delivery)? else {
                return Ok(DeliveryChange::Missing);
            };
            if found.is_webhook_deleted {
                return Ok(DeliveryChange::WebhookDeleted);
            }
            if found.state != StateKind::Pending {
                return Ok(DeliveryChange::State(found.state));
            }
            change(connection, CANCEL, params![number, audit.at.as_millis(), audit.actor])?;
            leases.end(number);
            let mut ledger = Ledger::default();
            ledger.pending(found.account.organization, -1);
            ledger.ended(found.account, audit.at, StateKind::Cancelled);
            ledger.write(connection)?;
            insert_audit(connection, &audit)?;
            Ok(DeliveryChange::Done { webhook: found.webhook })
        })
        .await
    }

    async fn retry_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let number = self.find_delivery_number("retry_delivery", organization, delivery).await?;
        let Some(number) = number else { return Ok(DeliveryChange::Missing) };
        self.write("retry_delivery", move |connection, _| {
            let Some(found) = find_changed(connection, number, delivery)? else {
                return Ok(DeliveryChange::Missing);
            };
            retry(connection, &found, &audit)
        })
        .await
    }

    async fn count_recoverable(&self, webhook: WebhookId, since: Timestamp) -> Result<u64, StoreError> {
        self.read("count_recoverable", move |connection| {
            let parameters = params![webhook.bytes(), since.as_millis()];
            let count = first(connection, COUNT, parameters, "deliveries", |cursor| cursor.count("number"))?;
            Ok(count.unwrap_or_default())
        })
        .await
    }

    async fn create_recovery(
        &self,
        recovery: &Recovery,
        audit: AuditEntry,
    ) -> Result<RecoveryCreated, StoreError> {
        let recovery = recovery.clone();
        self.write("create_recovery", move |connection, _| create(connection, &recovery, &audit)).await
    }

    async fn recovery(
        &self,
        organization: OrganizationId,
        id: RecoveryId,
    ) -> Result<Option<Recovery>, StoreError> {
        self.read("recovery", move |connection| {
            let found = first(connection, FIND, [id.bytes()], "recoveries", |cursor| read_recovery(cursor))?;
            Ok(found.filter(|recovery| recovery.organization == organization))
        })
        .await
    }

    async fn list_recoveries(
        &self,
        organization: OrganizationId,
        before: Option<RecoveryId>,
        limit: u32,
    ) -> Result<Vec<Recovery>, StoreError> {
        self.read("list_recoveries", move |connection| {
            let before: &[u8] = before.as_ref().map_or(&LAST, |before| before.bytes());
            let parameters = params![organization.bytes(), before, limit];
            list(connection, LIST, parameters, "recoveries", |cursor| read_recovery(cursor))
        })
        .await
    }

    async fn running_recoveries(&self, limit: u32) -> Result<Vec<Recovery>, StoreError> {
        self.read("running_recoveries", move |connection| {
            list(connection, RUNNING, [limit], "recoveries", |cursor| read_recovery(cursor))
        })
        .await
    }

    async fn advance_recovery(
        &self,
        id: RecoveryId,
        now: Timestamp,
        rows_max: u32,
    ) -> Result<Option<Recovery>, StoreError> {
        self.write("advance_recovery", move |connection, _| {
            advance(connection, id, now, rows_max)?;
            first(connection, FIND, [id.bytes()], "recoveries", |cursor| read_recovery(cursor))
        })
        .await
    }
}

impl SqliteStore {
    /// Finds a delivery's rowid on a reader, because it takes a lookup for each webhook of the organization and the writer must
    /// not wait for that.
    async fn find_delivery_number(
        &self,
        context: &'static str,
        organization: OrganizationId,
        delivery: DeliveryId,
    ) -> Result<Option<i64>, StoreError> {
        self.read(context, move |connection| find_number(connection, organization, delivery)).await
    }
}

fn find_changed(connection: &Connection, number: i64, id: DeliveryId) -> Result<Option<Changed>, Fault> {
    first(connection, FIND_CHANGED, params![number, id.bytes()], "deliveries", |cursor| {
        Ok(Changed {
            number,
            state: cursor.word("state", StateKind::parse)?,
            account: Account {
                webhook: cursor.get("number")?,
                organization: cursor.get("organization_number")?,
            },
            webhook: cursor.id("webhook_number")?,
            is_webhook_deleted: cursor.get("deleted_at")?,
        })
    })
}

fn retry(connection: &Connection, found: &Changed, audit: &AuditEntry) -> Result<DeliveryChange, Fault> {
    if found.is_webhook_deleted {
        return Ok(DeliveryChange::WebhookDeleted);
    }
    let at = audit.at.as_millis();
    match found.state {
        StateKind::Succeeded => return Ok(DeliveryChange::State(found.state)),
        StateKind::Pending => {}
        StateKind::Failed | StateKind::Cancelled => {
            change(connection, REARM, [found.number, at])?;
            let mut ledger = Ledger::default();
            ledger.pending(found.account.organization, 1);
            ledger.write(connection)?;
        }
    }
    change(connection, HASTEN, [found.number, at])?;
    insert_audit(connection, audit)?;
    Ok(DeliveryChange::Done { webhook: found.webhook })
}

fn create(
    connection: &Connection,
    recovery: &Recovery,
    audit: &AuditEntry,
) -> Result<RecoveryCreated, Fault> {
    let ids = [recovery.webhook.bytes(), recovery.organization.bytes()];
    let organization_number =
        first(connection, FIND_WEBHOOK, ids, "webhooks", |cursor| cursor.get::<i64>("organization_number"))?;
    let Some(organization_number) = organization_number else {
        return Ok(RecoveryCreated::WebhookMissing);
    };
    let running = first(connection, FIND_RUNNING, [recovery.webhook.bytes()], "recoveries", |cursor| {
        cursor.id::<RecoveryId>("id")
    })?;
    if let Some(id) = running {
        return Ok(RecoveryCreated::Running { id });
    }
    let parameters = params![
        recovery.id.bytes(),
        organization_number,
        recovery.webhook.bytes(),
        recovery.since.as_millis(),
        recovery.created_at.as_millis(),
        recovery.created_by,
        integer(recovery.total),
    ];
    change(connection, INSERT, parameters)?;
    insert_audit(connection, audit)?;
    Ok(RecoveryCreated::Done)
}

fn advance(connection: &Connection, id: RecoveryId, now: Timestamp, rows_max: u32) -> Result<(), Fault> {
    let step = first(connection, FIND_STEP, [id.bytes()], "recoveries", |cursor| {
        Ok(Step {
            after_created_at: cursor.get("after_created_at")?,
            after_id: cursor.get("after_id")?,
            created_at: cursor.get("created_at")?,
            webhook_number: cursor.get("webhook")?,
            organization_number: cursor.get("organization_number")?,
        })
    })?;
    let Some(step) = step else { return Ok(()) };
    let lost = match step.webhook_number {
        Some(webhook_number) => find_lost(connection, webhook_number, &step, rows_max)?,
        None => Vec::new(),
    };
    for (number, _, _) in &lost {
        change(connection, REARM, [*number, now.as_millis()])?;
    }
    let mut ledger = Ledger::default();
    let rearmed = i64::try_from(lost.len()).expect("at most rows_max");
    ledger.pending(step.organization_number, rearmed);
    ledger.write(connection)?;
    let (state, ended_at) = match step.webhook_number {
        None => ("abandoned", Some(now.as_millis())),
        Some(_) if rearmed < i64::from(rows_max) => ("done", Some(now.as_millis())),
        Some(_) => ("running", None),
    };
    let (after_created_at, after_id) = match lost.into_iter().next_back() {
        Some((_, created_at, id)) => (created_at, id),
        None => (step.after_created_at, step.after_id),
    };
    change(connection, ADVANCE, params![id.bytes(), rearmed, after_created_at, after_id, state, ended_at])?;
    Ok(())
}

/// The rowids, creation times and ids of the next deliveries to make pending.
fn find_lost(
    connection: &Connection,
    webhook_number: i64,
    step: &Step,
    rows_max: u32,
) -> Result<Vec<(i64, i64, Vec<u8>)>, Fault> {
    let parameters = params![webhook_number, step.after_created_at, step.after_id, step.created_at, rows_max];
    list(connection, FIND_LOST, parameters, "deliveries", |cursor| {
        Ok((cursor.get("number")?, cursor.get("created_at")?, cursor.get("id")?))
    })
}
