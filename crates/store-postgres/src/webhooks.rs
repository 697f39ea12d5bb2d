//! Webhooks and their edits.
//!
//! Every change locks the organization's row before its first read and until its end, so that its data does not change meanwhile,
//! and intakes come before or after it.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::health::Health;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Endpoint, Pace, PauseReason, Webhook};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::rows::webhook::{
    filters_column, groups_column, read_health, read_webhook, scope_columns, secret_columns,
};
use stackbell_store::rows::{Columns as _, Id, integer};
use stackbell_store::webhook_columns;
use stackbell_store::webhooks::{CreateOutcome, EditOutcome, OrganizationWebhooks, Webhooks};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::identity::{lock_organization, lock_organization_number};
use crate::organization_lock;
use crate::session::{Access, Transaction};
use crate::statement::statement;

statement!(ORGANIZATION_VERSION =
    "/* organization_webhooks.version */ SELECT number, version FROM organizations WHERE id = $1"; UUID);

statement!(ORGANIZATION_WEBHOOKS = concat!(
    "/* organization_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE w.organization_number = $1 AND w.deleted_at IS NULL ORDER BY w.id"
); INT8);

statement!(FIND_WEBHOOK = concat!(
    "/* find_webhook */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = $1 AND w.scope_kind = $2 AND w.scope_project = $3 AND w.scope_name = $4 AND w.name = $5 \
     AND w.deleted_at IS NULL"
); UUID, TEXT, TEXT, TEXT, TEXT);

statement!(WEBHOOK = concat!(
    "/* webhook */ SELECT ",
    webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE o.id = $1 AND w.id = $2 AND w.deleted_at IS NULL"
); UUID, UUID);

statement!(LIST_ALL_WEBHOOKS = concat!(
    "/* list_all_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = $1 AND w.deleted_at IS NULL AND w.id > $2 ORDER BY w.id LIMIT $3"
); UUID, UUID, INT8);

statement!(LIST_WEBHOOKS = concat!(
    "/* list_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = $1 AND w.scope_kind = $2 AND w.scope_project = $3 AND w.scope_name = $4 \
     AND w.deleted_at IS NULL AND w.id > $5 ORDER BY w.id LIMIT $6"
); UUID, TEXT, TEXT, TEXT, UUID, INT8);

statement!(COUNT_SCOPE = "/* create_webhook.count */ SELECT count(*), count(*) FILTER (WHERE name = $5) \
    FROM webhooks WHERE organization_number = $1 AND scope_kind = $2 AND scope_project = $3 AND scope_name = $4 \
    AND deleted_at IS NULL"; INT8, TEXT, TEXT, TEXT, TEXT);

statement!(INSERT = "/* create_webhook */ INSERT INTO webhooks \
    (id, organization_number, scope_kind, scope_project, scope_name, name, display_name, payload_url, active, \
     format, filters, groups, secret_key, secret, secret_fingerprint, previous_secret_key, previous_secret, \
     previous_secret_until, standard_headers, pace, pause_reason, created_at, revision, failures) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
     $23, 0) RETURNING number";
    UUID, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, BOOL, TEXT, TEXT, TEXT, UUID, BYTEA, BYTEA, UUID, BYTEA, INT8,
    BOOL, INT8, TEXT, INT8, INT8);

// A webhook never changes its organization.
statement!(LOCK_ORGANIZATION_OF = "/* edit_webhook.lock */ SELECT o.number FROM webhooks w \
    JOIN organizations o ON o.number = w.organization_number WHERE w.id = $1 FOR NO KEY UPDATE OF o"; UUID);

statement!(FIND_EDITED = "/* edit_webhook.find */ SELECT number, organization_number, \
    active, payload_url, secret_fingerprint, revision, failures, failing_since, suspended_since, suspension_reason, probe_at, hold_ended_at, \
    retry_asked_at, retry_until \
    FROM webhooks WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"; UUID);

statement!(UPDATE = "/* edit_webhook */ UPDATE webhooks SET \
    display_name = $2, payload_url = $3, active = $4, format = $5, filters = $6, groups = $7, secret_key = $8, \
    secret = $9, secret_fingerprint = $10, previous_secret_key = $11, previous_secret = $12, \
    previous_secret_until = $13, standard_headers = $14, pace = $15, pause_reason = $16, revision = revision + 1 \
    WHERE number = $1";
    INT8, TEXT, TEXT, BOOL, TEXT, TEXT, TEXT, UUID, BYTEA, BYTEA, UUID, BYTEA, INT8, BOOL, INT8, TEXT);

statement!(UPDATE_HEALTH = "/* update_health */ UPDATE webhooks SET failures = $2, failing_since = $3, \
    suspended_since = $4, suspension_reason = $5, probe_at = $6, hold_ended_at = $7, retry_asked_at = $8, \
    retry_until = $9 WHERE number = $1";
    INT8, INT8, INT8, INT8, TEXT, INT8, INT8, INT8, INT8);

statement!(DELETE = "/* delete_webhook */ UPDATE webhooks SET deleted_at = $6, deleted_by = $7 \
    WHERE organization_number = $1 AND scope_kind = $2 AND scope_project = $3 AND scope_name = $4 AND name = $5 \
    AND deleted_at IS NULL RETURNING id"; INT8, TEXT, TEXT, TEXT, TEXT, INT8, TEXT);

statement!(BUMP_VERSION =
    "/* bump_version */ UPDATE organizations SET version = version + 1 WHERE number = $1"; INT8);

#[async_trait]
impl Webhooks for PostgresStore {
    async fn organization_webhooks(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<OrganizationWebhooks>, StoreError> {
        let found = self.engine_pool.run(Access::Read, "organization_webhooks", |tx| async move {
            let found = tx
                .first(&ORGANIZATION_VERSION, &[&organization.uuid()], "organizations", |cursor| {
                    Ok((cursor.integer("number")?, cursor.count("version")?))
                })
                .await?;
            let Some((number, version)) = found else { return Ok(None) };
            let webhooks = tx
                .list(&ORGANIZATION_WEBHOOKS, &[&number], "webhooks", |cursor| read_webhook(cursor))
                .await?;
            Ok(Some(OrganizationWebhooks { version, webhooks }))
        });
        found.await
    }

    async fn create_webhook(
        &self,
        webhook: &Webhook,
        scope_max: u32,
        audit: AuditEntry,
    ) -> Result<CreateOutcome, StoreError> {
        let audit = &audit;
        self.write("create_webhook", |tx| async move { create(&tx, webhook, scope_max, audit).await }).await
    }

    async fn edit_webhook(&self, webhook: &Webhook, audit: AuditEntry) -> Result<EditOutcome, StoreError> {
        let audit = &audit;
        self.write("edit_webhook", |tx| async move { edit(&tx, webhook, audit).await }).await
    }

    async fn delete_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
        audit: AuditEntry,
    ) -> Result<Option<WebhookId>, StoreError> {
        let audit = &audit;
        self.write("delete_webhook", |tx| async move {
            let Some(organization) = lock_organization(&tx, organization).await? else { return Ok(None) };
            let [kind, project, scope_name] = scope_columns(scope);
            let (name, at) = (name.as_str(), audit.at.as_millis());
            let deleted = tx
                .first(
                    &DELETE,
                    &[&organization, &kind, &project, &scope_name, &name, &at, &audit.actor],
                    "webhooks",
                    |cursor| cursor.id("id"),
                )
                .await?;
            let Some(deleted) = deleted else { return Ok(None) };
            bump_version(&tx, organization).await?;
            insert_audit(&tx, audit).await?;
            Ok(Some(deleted))
        })
        .await
    }

    async fn find_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Result<Option<Webhook>, StoreError> {
        self.read("find_webhook", |tx| async move {
            let [kind, project, scope_name] = scope_columns(scope);
            let (organization, name) = (organization.uuid(), name.as_str());
            tx.first(
                &FIND_WEBHOOK,
                &[&organization, &kind, &project, &scope_name, &name],
                "webhooks",
                |cursor| read_webhook(cursor),
            )
            .await
        })
        .await
    }

    async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError> {
        self.read("webhook", |tx| async move {
            let (organization, id) = (organization.uuid(), id.uuid());
            tx.first(&WEBHOOK, &[&organization, &id], "webhooks", |cursor| read_webhook(cursor)).await
        })
        .await
    }

    async fn list_all_webhooks(
        &self,
        organization: OrganizationId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let (organization, limit) = (organization.uuid(), i64::from(limit));
        let after = after.as_ref().map_or(Uuid::nil(), Id::uuid);
        self.read("list_all_webhooks", |tx| async move {
            tx.list(&LIST_ALL_WEBHOOKS, &[&organization, &after, &limit], "webhooks", |cursor| {
                read_webhook(cursor)
            })
            .await
        })
        .await
    }

    async fn list_webhooks(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let (organization, limit) = (organization.uuid(), i64::from(limit));
        let after = after.as_ref().map_or(Uuid::nil(), Id::uuid);
        self.read("list_webhooks", |tx| async move {
            let [kind, project, name] = scope_columns(scope);
            tx.list(
                &LIST_WEBHOOKS,
                &[&organization, &kind, &project, &name, &after, &limit],
                "webhooks",
                |cursor| read_webhook(cursor),
            )
            .await
        })
        .await
    }

    async fn resume_webhook(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("resume_webhook", |tx| async move {
            let Some(current) = lock_current(&tx, webhook).await? else { return Ok(false) };
            update_health(&tx, current.number, &current.health.resumed(now)).await?;
            bump_version(&tx, current.organization_number).await?;
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }
}

/// Increments the organization's version, so that intakes which were matched before are stale.
pub(crate) async fn bump_version(tx: &Transaction, organization_number: i64) -> Result<(), Fault> {
    tx.change(&BUMP_VERSION, &[&organization_number]).await?;
    Ok(())
}

async fn create(
    tx: &Transaction,
    webhook: &Webhook,
    scope_max: u32,
    audit: &AuditEntry,
) -> Result<CreateOutcome, Fault> {
    let organization = lock_organization_number(tx, webhook.organization).await?;
    let ([kind, project, scope_name], name) = (scope_columns(&webhook.scope), webhook.name.as_str());
    let counts = tx
        .first(&COUNT_SCOPE, &[&organization, &kind, &project, &scope_name, &name], "webhooks", |cursor| {
            Ok((cursor.count("number")?, cursor.count("number")?))
        })
        .await?;
    match counts {
        Some((_, namesakes)) if namesakes > 0 => return Ok(CreateOutcome::NameTaken),
        Some((webhooks, _)) if webhooks >= u64::from(scope_max) => return Ok(CreateOutcome::TooMany),
        Some(_) | None => {}
    }
    insert(tx, organization, webhook).await?;
    bump_version(tx, organization).await?;
    insert_audit(tx, audit).await?;
    Ok(CreateOutcome::Done)
}

/// The current data of a webhook that an edit needs.
struct Current {
    number: i64,
    organization_number: i64,
    active: bool,
    payload_url: Box<str>,
    secret: Option<[u8; 32]>,
    revision: u64,
    health: Health,
}

/// Locks a webhook and its organization until the transaction ends.
async fn lock_current(tx: &Transaction, webhook: WebhookId) -> Result<Option<Current>, Fault> {
    organization_lock::lock_exclusive_of_webhook(tx, webhook).await?;
    tx.rows(&LOCK_ORGANIZATION_OF, &[&webhook.uuid()]).await?;
    tx.first(&FIND_EDITED, &[&webhook.uuid()], "webhooks", |cursor| {
        Ok(Current {
            number: cursor.integer("number")?,
            organization_number: cursor.integer("organization_number")?,
            active: cursor.flag("active")?,
            payload_url: cursor.text("payload_url")?.into(),
            secret: cursor.digest_or_null("secret_fingerprint")?,
            revision: cursor.count("revision")?,
            health: read_health(cursor)?,
        })
    })
    .await
}

async fn edit(tx: &Transaction, webhook: &Webhook, audit: &AuditEntry) -> Result<EditOutcome, Fault> {
    let Some(current) = lock_current(tx, webhook.id).await? else {
        return Ok(EditOutcome::Missing);
    };
    if current.revision != webhook.revision {
        return Ok(EditOutcome::Outdated);
    }
    update(tx, current.number, webhook).await?;
    let before = Endpoint { payload_url: &current.payload_url, secret: current.secret };
    let edit = webhook.edit_of(current.active, before);
    let health = current.health.edited(edit, audit.at);
    if health != current.health {
        update_health(tx, current.number, &health).await?;
    }
    bump_version(tx, current.organization_number).await?;
    insert_audit(tx, audit).await?;
    Ok(EditOutcome::Done)
}

/// The editable columns, in the order of [`INSERT`] and [`UPDATE`].
fn edited_columns(webhook: &Webhook) -> [Box<dyn ToSql + Sync + Send + '_>; 15] {
    let secret = secret_columns(webhook);
    [
        Box::new(webhook.display_name.as_str()),
        Box::new(webhook.payload_url.expose()),
        Box::new(webhook.active),
        Box::new(webhook.format.as_str()),
        Box::new(filters_column(&webhook.subscription)),
        Box::new(groups_column(&webhook.subscription)),
        Box::new(secret.key.map(Id::uuid)),
        Box::new(secret.bytes),
        Box::new(secret.fingerprint.map(<[u8; 32]>::as_slice)),
        Box::new(secret.previous_key.map(Id::uuid)),
        Box::new(secret.previous_bytes),
        Box::new(secret.previous_until),
        Box::new(webhook.standard_headers),
        Box::new(webhook.pace.map(Pace::attempts_per_minute).map(i64::from)),
        Box::new(webhook.pause_reason.as_ref().map(PauseReason::as_str)),
    ]
}

/// Inserts a webhook with its health.
async fn insert(tx: &Transaction, organization_number: i64, webhook: &Webhook) -> Result<(), Fault> {
    let [scope_kind, scope_project, scope_name] = scope_columns(&webhook.scope);
    let (id, name) = (webhook.id.uuid(), webhook.name.as_str());
    let edited = edited_columns(webhook);
    let (created_at, revision) = (webhook.created_at.as_millis(), integer(webhook.revision));
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&id, &organization_number, &scope_kind, &scope_project, &scope_name, &name];
    parameters.extend(edited.iter().map(|column| &**column as &(dyn ToSql + Sync)));
    parameters.extend([&created_at as &(dyn ToSql + Sync), &revision]);
    let number = tx.first(&INSERT, &parameters, "webhooks", |cursor| cursor.integer("number")).await?;
    if let Some(number) = number
        && webhook.health != Health::default()
    {
        update_health(tx, number, &webhook.health).await?;
    }
    Ok(())
}

/// Writes the editable columns, and increments the revision.
async fn update(tx: &Transaction, number: i64, webhook: &Webhook) -> Result<(), Fault> {
    let edited = edited_columns(webhook);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&number];
    parameters.extend(edited.iter().map(|column| &**column as &(dyn ToSql + Sync)));
    tx.change(&UPDATE, &parameters).await?;
    Ok(())
}

/// Writes a webhook's health. The caller has locked the webhook's row since it read the health.
pub(crate) async fn update_health(tx: &Transaction, number: i64, health: &Health) -> Result<(), Fault> {
    let suspension = health.suspension;
    tx.change(
        &UPDATE_HEALTH,
        &[
            &number,
            &i64::from(health.failures),
            &health.failing_since.map(Timestamp::as_millis),
            &suspension.map(|suspension| suspension.since.as_millis()),
            &suspension.map(|suspension| suspension.reason.as_str()),
            &suspension.map(|suspension| suspension.probe_at.as_millis()),
            &health.hold_ended_at.map(Timestamp::as_millis),
            &health.retry_after.map(|asked| asked.asked_at.as_millis()),
            &health.retry_after.map(|asked| asked.until.as_millis()),
        ],
    )
    .await?;
    Ok(())
}
