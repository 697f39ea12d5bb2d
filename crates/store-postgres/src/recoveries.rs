//! Retries of ended deliveries, and cancellation of pending ones.
//!
//! A transaction locks a delivery before it reads it. If another transaction has moved the delivery to another partition by an
//! `UPDATE`, PostgreSQL reports a conflict, and the transaction is repeated. Other transactions move a delivery by a delete and
//! an insert, so a delivery that is not found is searched a second time.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::recovery::Recovery;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::recoveries::{DeliveryChange, Recoveries, RecoveryCreated};
use stackbell_store::recovery_columns;
use stackbell_store::rows::recovery::read_recovery;
use stackbell_store::rows::{Columns as _, Id, integer};
use uuid::Uuid;

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::ledger::{Account, Ledger};
use crate::session::{Transaction, find_twice};
use crate::statement::statement;

statement!(FIND_CHANGED = "/* change_delivery.find */ SELECT d.id, d.state, d.webhook_number, \
    d.organization_number, w.id, w.deleted_at IS NOT NULL \
    FROM organizations o JOIN deliveries d ON d.organization_number = o.number \
    JOIN webhooks w ON w.number = d.webhook_number \
    WHERE o.id = $1 AND d.id = $2 AND d.event_key IS NOT NULL FOR UPDATE OF d"; UUID, UUID);

statement!(CANCEL = "/* cancel_delivery */ UPDATE deliveries SET state = 'cancelled', due_at = NULL, \
    finished_at = $2, cancel_reason = 'asked', cancelled_by = $3, lease_token = NULL, lease_until = NULL \
    WHERE id = $1 AND state = 'pending'"; UUID, INT8, TEXT);

// Reads one entry of the queue's index: the first of the other deliveries.
statement!(HASTEN = "/* retry_delivery.first */ UPDATE deliveries_pending d SET due_at = least($2, ( \
        SELECT o.due_at - 1 FROM deliveries_pending o WHERE o.webhook_number = d.webhook_number AND o.id <> $1 \
        ORDER BY o.webhook_number, o.due_at LIMIT 1)) WHERE d.id = $1"; UUID, INT8);

statement!(REARM = "/* rearm_deliveries */ UPDATE deliveries SET state = 'pending', due_at = $2, rearmed_at = $2, \
    attempts_spent = 0, finished_at = NULL, fail_reason = NULL, cancel_reason = NULL, cancelled_by = NULL \
    WHERE id = ANY ($1) AND state IN ('failed', 'cancelled')"; UUID_ARRAY, INT8);

statement!(COUNT = "/* count_recoverable */ SELECT count(*) FROM webhooks w \
    JOIN deliveries_ended d ON d.webhook_number = w.number AND d.state IN ('failed', 'cancelled') \
    WHERE w.id = $1 AND d.created_at >= $2 AND d.event_key IS NOT NULL"; UUID, INT8);

// Until the transaction ends, no other one deletes the webhook or creates a recovery for it.
statement!(LOCK_WEBHOOK = "/* create_recovery.webhook */ SELECT w.organization_number FROM webhooks w \
    WHERE w.id = $1 AND w.deleted_at IS NULL \
    AND w.organization_number = (SELECT number FROM organizations WHERE id = $2) FOR NO KEY UPDATE"; UUID, UUID);

statement!(FIND_RUNNING =
    "/* create_recovery.running */ SELECT id FROM recoveries WHERE webhook = $1 AND state = 'running'"; UUID);

statement!(INSERT = "/* create_recovery */ INSERT INTO recoveries (id, organization_number, webhook, since, \
    created_at, created_by, total, rearmed, after_created_at, after_id, state) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $4, $8, 'running')";
    UUID, INT8, UUID, INT8, INT8, TEXT, INT8, UUID);

statement!(FIND = concat!(
    "/* recovery */ SELECT ",
    recovery_columns!(),
    " FROM recoveries r JOIN organizations o ON o.number = r.organization_number WHERE r.id = $1"
); UUID);

statement!(LIST = concat!(
    "/* list_recoveries */ SELECT ",
    recovery_columns!(),
    " FROM organizations o JOIN recoveries r ON r.organization_number = o.number \
     WHERE o.id = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3"
); UUID, UUID, INT8);

// There is at most one for each webhook: few enough to sort.
statement!(RUNNING = concat!(
    "/* running_recoveries */ SELECT ",
    recovery_columns!(),
    " FROM recoveries r JOIN organizations o ON o.number = r.organization_number \
     WHERE r.state = 'running' ORDER BY r.id LIMIT $1"
); INT8);

// Locks the recovery, so that nodes advance it one after the other.
statement!(LOCK_STEP = "/* advance_recovery.find */ SELECT r.id, r.after_created_at, r.after_id, r.created_at, \
    w.number, r.organization_number FROM recoveries r \
    LEFT JOIN webhooks w ON w.id = r.webhook AND w.deleted_at IS NULL \
    WHERE r.id = $1 AND r.state = 'running' FOR UPDATE OF r"; UUID);

statement!(LOCK_LOST = "/* advance_recovery.lost */ SELECT d.id, d.created_at FROM deliveries_ended d \
    WHERE d.webhook_number = $1 AND d.state IN ('failed', 'cancelled') AND (d.created_at, d.id) > ($2, $3) \
    AND d.finished_at <= $4 AND d.event_key IS NOT NULL ORDER BY d.created_at, d.id LIMIT $5 FOR UPDATE";
    INT8, INT8, UUID, INT8, INT8);

statement!(ADVANCE = "/* advance_recovery */ UPDATE recoveries SET rearmed = rearmed + $2, \
    after_created_at = $3, after_id = $4, state = $5, ended_at = $6 WHERE id = $1";
    UUID, INT8, INT8, UUID, TEXT, INT8);

/// The delivery to change.
struct Changed {
    id: DeliveryId,
    state: StateKind,
    account: Account,
    webhook: WebhookId,
    is_webhook_deleted: bool,
}

/// The position of a running recovery. `webhook_number` is `None` if its webhook was deleted.
struct Step {
    after: (i64, Uuid),
    created_at: i64,
    webhook_number: Option<i64>,
    organization_number: i64,
}

#[async_trait]
impl Recoveries for PostgresStore {
    async fn cancel_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let audit = &audit;
        self.write("cancel_delivery", |tx| async move {
            match lock_changed(&tx, organization, delivery).await? {
                Some(found) => cancel(&tx, &found, audit).await,
                None => Ok(DeliveryChange::Missing),
            }
        })
        .await
    }

    async fn retry_delivery(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry,
    ) -> Result<DeliveryChange, StoreError> {
        let audit = &audit;
        self.write("retry_delivery", |tx| async move {
            match lock_changed(&tx, organization, delivery).await? {
                Some(found) => retry(&tx, &found, audit).await,
                None => Ok(DeliveryChange::Missing),
            }
        })
        .await
    }

    async fn count_recoverable(&self, webhook: WebhookId, since: Timestamp) -> Result<u64, StoreError> {
        self.read("count_recoverable", |tx| async move {
            let (webhook, since) = (webhook.uuid(), since.as_millis());
            let count =
                tx.first(&COUNT, &[&webhook, &since], "deliveries", |cursor| cursor.count("id")).await?;
            Ok(count.unwrap_or_default())
        })
        .await
    }

    async fn create_recovery(
        &self,
        recovery: &Recovery,
        audit: AuditEntry,
    ) -> Result<RecoveryCreated, StoreError> {
        let audit = &audit;
        self.write("create_recovery", |tx| async move { create(&tx, recovery, audit).await }).await
    }

    async fn recovery(
        &self,
        organization: OrganizationId,
        id: RecoveryId,
    ) -> Result<Option<Recovery>, StoreError> {
        self.read("recovery", |tx| async move {
            Ok(find(&tx, id).await?.filter(|recovery| recovery.organization == organization))
        })
        .await
    }

    async fn list_recoveries(
        &self,
        organization: OrganizationId,
        before: Option<RecoveryId>,
        limit: u32,
    ) -> Result<Vec<Recovery>, StoreError> {
        // No recovery has the greatest id.
        let before = before.as_ref().map_or(Uuid::max(), Id::uuid);
        self.read("list_recoveries", |tx| async move {
            tx.list(&LIST, &[&organization.uuid(), &before, &i64::from(limit)], "recoveries", |cursor| {
                read_recovery(cursor)
            })
            .await
        })
        .await
    }

    async fn running_recoveries(&self, limit: u32) -> Result<Vec<Recovery>, StoreError> {
        self.read("running_recoveries", |tx| async move {
            tx.list(&RUNNING, &[&i64::from(limit)], "recoveries", |cursor| read_recovery(cursor)).await
        })
        .await
    }

    async fn advance_recovery(
        &self,
        id: RecoveryId,
        now: Timestamp,
        rows_max: u32,
    ) -> Result<Option<Recovery>, StoreError> {
        self.write("advance_recovery", |tx| async move {
            advance(&tx, id, now, rows_max).await?;
            find(&tx, id).await
        })
        .await
    }
}

async fn find(tx: &Transaction, id: RecoveryId) -> Result<Option<Recovery>, Fault> {
    tx.first(&FIND, &[&id.uuid()], "recoveries", |cursor| read_recovery(cursor)).await
}

async fn lock_changed(
    tx: &Transaction,
    organization: OrganizationId,
    delivery: DeliveryId,
) -> Result<Option<Changed>, Fault> {
    find_twice(|| find_changed(tx, organization, delivery)).await
}

async fn find_changed(
    tx: &Transaction,
    organization: OrganizationId,
    delivery: DeliveryId,
) -> Result<Option<Changed>, Fault> {
    tx.first(&FIND_CHANGED, &[&organization.uuid(), &delivery.uuid()], "deliveries", |cursor| {
        Ok(Changed {
            id: cursor.id("id")?,
            state: cursor.word("state", StateKind::parse)?,
            account: Account {
                webhook: cursor.integer("webhook_number")?,
                organization: cursor.integer("organization_number")?,
            },
            webhook: cursor.id("webhook_number")?,
            is_webhook_deleted: cursor.flag("webhook_number")?,
        })
    })
    .await
}

async fn cancel(tx: &Transaction, found: &Changed, audit: &AuditEntry) -> Result<DeliveryChange, Fault> {
    if found.is_webhook_deleted {
        return Ok(DeliveryChange::WebhookDeleted);
    }
    if found.state != StateKind::Pending {
        return Ok(DeliveryChange::State(found.state));
    }
    tx.change(&CANCEL, &[&found.id.uuid(), &audit.at.as_millis(), &audit.actor]).await?;
    let mut ledger = Ledger::default();
    ledger.pending(found.account.organization, -1);
    ledger.ended(found.account, audit.at, StateKind::Cancelled);
    ledger.write(tx).await?;
    insert_audit(tx, audit).await?;
    Ok(DeliveryChange::Done { webhook: found.webhook })
}

async fn retry(tx: &Transaction, found: &Changed, audit: &AuditEntry) -> Result<DeliveryChange, Fault> {
    if found.is_webhook_deleted {
        return Ok(DeliveryChange::WebhookDeleted);
    }
    match found.state {
        StateKind::Succeeded => return Ok(DeliveryChange::State(found.state)),
        StateKind::Pending => {}
        StateKind::Failed | StateKind::Cancelled => {
            rearm(tx, found.account.organization, &[found.id.uuid()], audit.at).await?;
        }
    }
    tx.change(&HASTEN, &[&found.id.uuid(), &audit.at.as_millis()]).await?;
    insert_audit(tx, audit).await?;
    Ok(DeliveryChange::Done { webhook: found.webhook })
}

/// Makes deliveries pending that are locked and failed or cancelled.
async fn rearm(tx: &Transaction, organization: i64, ids: &[Uuid], at: Timestamp) -> Result<(), Fault> {
    let rearmed = tx.change(&REARM, &[&ids, &at.as_millis()]).await?;
    if rearmed != ids.len() as u64 {
        // The rows are locked, so only a change by another program can cause this.
        return Err(Fault::Contended);
    }
    let mut ledger = Ledger::default();
    ledger.pending(organization, integer(rearmed));
    ledger.write(tx).await
}

async fn create(tx: &Transaction, recovery: &Recovery, audit: &AuditEntry) -> Result<RecoveryCreated, Fault> {
    let (webhook, organization) = (recovery.webhook.uuid(), recovery.organization.uuid());
    let organization_number = tx
        .first(&LOCK_WEBHOOK, &[&webhook, &organization], "webhooks", |cursor| {
            cursor.integer("organization_number")
        })
        .await?;
    let Some(organization_number) = organization_number else {
        return Ok(RecoveryCreated::WebhookMissing);
    };
    let running = tx.first(&FIND_RUNNING, &[&webhook], "recoveries", |cursor| cursor.id("id")).await?;
    if let Some(id) = running {
        return Ok(RecoveryCreated::Running { id });
    }
    tx.change(
        &INSERT,
        &[
            &recovery.id.uuid(),
            &organization_number,
            &webhook,
            &recovery.since.as_millis(),
            &recovery.created_at.as_millis(),
            &recovery.created_by,
            &integer(recovery.total),
            // Less than every id.
            &Uuid::nil(),
        ],
    )
    .await?;
    insert_audit(tx, audit).await?;
    Ok(RecoveryCreated::Done)
}

async fn advance(tx: &Transaction, id: RecoveryId, now: Timestamp, rows_max: u32) -> Result<(), Fault> {
    let step = tx
        .first(&LOCK_STEP, &[&id.uuid()], "recoveries", |cursor| {
            cursor.skip("id")?;
            Ok(Step {
                after: (cursor.integer("after_created_at")?, cursor.id::<DeliveryId>("after_id")?.uuid()),
                created_at: cursor.integer("created_at")?,
                webhook_number: cursor.integer_or_null("webhook")?,
                organization_number: cursor.integer("organization_number")?,
            })
        })
        .await?;
    let Some(step) = step else { return Ok(()) };
    let lost = match step.webhook_number {
        Some(webhook_number) => lock_lost(tx, webhook_number, &step, rows_max).await?,
        None => Vec::new(),
    };
    let ids: Vec<Uuid> = lost.iter().map(|(_, id)| *id).collect();
    if !ids.is_empty() {
        rearm(tx, step.organization_number, &ids, now).await?;
    }
    let (state, ended_at) = match step.webhook_number {
        None => ("abandoned", Some(now.as_millis())),
        Some(_) if lost.len() < rows_max as usize => ("done", Some(now.as_millis())),
        Some(_) => ("running", None),
    };
    let after = lost.last().copied().unwrap_or(step.after);
    let rearmed = integer(lost.len() as u64);
    tx.change(&ADVANCE, &[&id.uuid(), &rearmed, &after.0, &after.1, &state, &ended_at]).await?;
    Ok(())
}

/// Locks the next deliveries to make pending. Returns their creation times and ids.
async fn lock_lost(
    tx: &Transaction,
    webhook_number: i64,
    step: &Step,
    rows_max: u32,
) -> Result<Vec<(i64, Uuid)>, Fault> {
    let (after_created_at, after_id) = step.after;
    tx.list(
        &LOCK_LOST,
        &[&webhook_number, &after_created_at, &after_id, &step.created_at, &i64::from(rows_max)],
        "deliveries",
        |cursor| {
            let id = cursor.id::<DeliveryId>("id")?.uuid();
            Ok((cursor.integer("created_at")?, id))
        },
    )
    .await
}
