//! Webhooks and their edits.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::health::Health;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Endpoint, Webhook};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::webhooks::{CreateOutcome, EditOutcome, OrganizationWebhooks, Webhooks};

use crate::SqliteStore;
use crate::error::Fault;
use crate::identity::find_organization_number;
use crate::rows::audit::insert_audit;
use crate::rows::webhook::{UPDATE_HEALTH, insert_webhook, update_health, update_webhook};
use crate::rows::{change, first, list};
use stackbell_store::rows::webhook::{read_health, read_webhook, scope_columns};
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::webhook_columns;

pub(crate) const ORGANIZATION_VERSION: &str =
    "/* organization_webhooks.version */ SELECT number, version FROM organizations WHERE id = ?1";

pub(crate) const ORGANIZATION_WEBHOOKS: &str = concat!(
    "/* organization_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE w.organization_number = ?1 AND w.deleted_at IS NULL ORDER BY w.id"
);

pub(crate) const FIND_WEBHOOK: &str = concat!(
    "/* find_webhook */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = ?1 AND w.scope_kind = ?2 AND w.scope_project = ?3 AND w.scope_name = ?4 AND w.name = ?5 \
     AND w.deleted_at IS NULL"
);

pub(crate) const WEBHOOK: &str = concat!(
    "/* webhook */ SELECT ",
    webhook_columns!(),
    " FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE o.id = ?1 AND w.id = ?2 AND w.deleted_at IS NULL"
);

pub(crate) const LIST_ALL_WEBHOOKS: &str = concat!(
    "/* list_all_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = ?1 AND w.deleted_at IS NULL AND w.id > ?2 ORDER BY w.id LIMIT ?3"
);

pub(crate) const LIST_WEBHOOKS: &str = concat!(
    "/* list_webhooks */ SELECT ",
    webhook_columns!(),
    " FROM organizations o JOIN webhooks w ON w.organization_number = o.number \
     WHERE o.id = ?1 AND w.scope_kind = ?2 AND w.scope_project = ?3 AND w.scope_name = ?4 \
     AND w.deleted_at IS NULL AND w.id > ?5 ORDER BY w.id LIMIT ?6"
);

pub(crate) const COUNT_SCOPE: &str = "/* create_webhook.count */ SELECT COUNT(*), \
    COALESCE(SUM(name = ?5), 0) FROM webhooks WHERE organization_number = ?1 AND scope_kind = ?2 \
    AND scope_project = ?3 AND scope_name = ?4 AND deleted_at IS NULL";

pub(crate) const FIND_EDITED: &str = "/* edit_webhook.find */ SELECT number, organization_number, \
    active, payload_url, secret_fingerprint, revision, failures, failing_since, suspended_since, suspension_reason, probe_at, hold_ended_at, \
    retry_asked_at, retry_until \
    FROM webhooks WHERE id = ?1 AND deleted_at IS NULL";

pub(crate) const DELETE_WEBHOOK: &str = "/* delete_webhook */ UPDATE webhooks SET deleted_at = ?2, \
    deleted_by = ?3 WHERE id = ?1";

pub(crate) const BUMP_VERSION: &str =
    "/* bump_version */ UPDATE organizations SET version = version + 1 WHERE number = ?1";

#[async_trait]
impl Webhooks for SqliteStore {
    async fn organization_webhooks(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<OrganizationWebhooks>, StoreError> {
        self.read("organization_webhooks", move |connection| {
            let ids = [organization.bytes()];
            let found = first(connection, ORGANIZATION_VERSION, ids, "organizations", |cursor| {
                Ok((cursor.get::<i64>("number")?, cursor.count("version")?))
            })?;
            let Some((number, version)) = found else { return Ok(None) };
            let webhooks =
                list(connection, ORGANIZATION_WEBHOOKS, [number], "webhooks", |cursor| read_webhook(cursor))?;
            Ok(Some(OrganizationWebhooks { version, webhooks }))
        })
        .await
    }

    async fn create_webhook(
        &self,
        webhook: &Webhook,
        scope_max: u32,
        audit: AuditEntry,
    ) -> Result<CreateOutcome, StoreError> {
        let webhook = webhook.clone();
        self.write("create_webhook", move |connection, _| create(connection, &webhook, scope_max, &audit))
            .await
    }

    async fn edit_webhook(&self, webhook: &Webhook, audit: AuditEntry) -> Result<EditOutcome, StoreError> {
        let webhook = webhook.clone();
        self.write("edit_webhook", move |connection, _| edit(connection, &webhook, &audit)).await
    }

    async fn delete_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
        audit: AuditEntry,
    ) -> Result<Option<WebhookId>, StoreError> {
        let (scope, name) = (scope.clone(), name.clone());
        self.write("delete_webhook", move |connection, _| {
            let Some(webhook) = find(connection, organization, &scope, &name)? else { return Ok(None) };
            let parameters = params![webhook.id.bytes(), audit.at.as_millis(), audit.actor];
            change(connection, DELETE_WEBHOOK, parameters)?;
            bump_version(connection, find_organization_number(connection, organization)?)?;
            insert_audit(connection, &audit)?;
            Ok(Some(webhook.id))
        })
        .await
    }

    async fn find_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Result<Option<Webhook>, StoreError> {
        let (scope, name) = (scope.clone(), name.clone());
        self.read("find_webhook", move |connection| find(connection, organization, &scope, &name)).await
    }

    async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError> {
        self.read("webhook", move |connection| {
            let ids = [organization.bytes(), id.bytes()];
            first(connection, WEBHOOK, ids, "webhooks", |cursor| read_webhook(cursor))
        })
        .await
    }

    async fn list_all_webhooks(
        &self,
        organization: OrganizationId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        self.read("list_all_webhooks", move |connection| {
            let after: &[u8] = after.as_ref().map_or(&[], |after| after.bytes());
            let parameters = params![organization.bytes(), after, limit];
            list(connection, LIST_ALL_WEBHOOKS, parameters, "webhooks", |cursor| read_webhook(cursor))
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
        let scope = scope.clone();
        self.read("list_webhooks", move |connection| {
            let [kind, project, name] = scope_columns(&scope);
            let after: &[u8] = after.as_ref().map_or(&[], |after| after.bytes());
            let parameters = params![organization.bytes(), kind, project, name, after, limit];
            list(connection, LIST_WEBHOOKS, parameters, "webhooks", |cursor| read_webhook(cursor))
        })
        .await
    }

    async fn resume_webhook(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write("resume_webhook", move |connection, _| {
            let Some(current) = find_current(connection, webhook)? else { return Ok(false) };
            set_health(connection, current.number, &current.health.resumed(now))?;
            bump_version(connection, current.organization_number)?;
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }
}

/// Increments the organization's version, so that intakes which were matched before are stale.
pub(crate) fn bump_version(connection: &Connection, organization_number: i64) -> Result<(), Fault> {
    change(connection, BUMP_VERSION, [organization_number])?;
    Ok(())
}

fn find(
    connection: &Connection,
    organization: OrganizationId,
    scope: &Scope,
    name: &WebhookName,
) -> Result<Option<Webhook>, Fault> {
    let [scope_kind, scope_project, scope_name] = scope_columns(scope);
    let parameters = params![organization.bytes(), scope_kind, scope_project, scope_name, name.as_str()];
    first(connection, FIND_WEBHOOK, parameters, "webhooks", |cursor| read_webhook(cursor))
}

fn create(
    connection: &Connection,
    webhook: &Webhook,
    scope_max: u32,
    audit: &AuditEntry,
) -> Result<CreateOutcome, Fault> {
    let organization_number = find_organization_number(connection, webhook.organization)?;
    let [scope_kind, scope_project, scope_name] = scope_columns(&webhook.scope);
    let parameters =
        params![organization_number, scope_kind, scope_project, scope_name, webhook.name.as_str()];
    let counts = first(connection, COUNT_SCOPE, parameters, "webhooks", |cursor| {
        Ok((cursor.count("number")?, cursor.count("number")?))
    })?;
    match counts {
        Some((_, namesakes)) if namesakes > 0 => return Ok(CreateOutcome::NameTaken),
        Some((webhooks, _)) if webhooks >= u64::from(scope_max) => return Ok(CreateOutcome::TooMany),
        Some(_) | None => {}
    }
    insert_webhook(connection, organization_number, webhook)?;
    bump_version(connection, organization_number)?;
    insert_audit(connection, audit)?;
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

fn find_current(connection: &Connection, webhook: WebhookId) -> Result<Option<Current>, Fault> {
    first(connection, FIND_EDITED, [webhook.bytes()], "webhooks", |cursor| {
        Ok(Current {
            number: cursor.get("number")?,
            organization_number: cursor.get("organization_number")?,
            active: cursor.get("active")?,
            payload_url: cursor.text("payload_url")?.into(),
            secret: cursor.digest_or_null("secret_fingerprint")?,
            revision: cursor.count("revision")?,
            health: read_health(cursor)?,
        })
    })
}

fn edit(connection: &Connection, webhook: &Webhook, audit: &AuditEntry) -> Result<EditOutcome, Fault> {
    let Some(current) = find_current(connection, webhook.id)? else {
        return Ok(EditOutcome::Missing);
    };
    if current.revision != webhook.revision {
        return Ok(EditOutcome::Outdated);
    }
    update_webhook(connection, current.number, webhook)?;
    let before = Endpoint { payload_url: &current.payload_url, secret: current.secret };
    let edit = webhook.edit_of(current.active, before);
    let health = current.health.edited(edit, audit.at);
    if health != current.health {
        set_health(connection, current.number, &health)?;
    }
    bump_version(connection, current.organization_number)?;
    insert_audit(connection, audit)?;
    Ok(EditOutcome::Done)
}

fn set_health(connection: &Connection, number: i64, health: &Health) -> Result<(), Fault> {
    Ok(update_health(&mut *connection.prepare_cached(UPDATE_HEALTH)?, number, health)?)
}
