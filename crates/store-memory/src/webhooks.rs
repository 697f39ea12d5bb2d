//! Webhooks and their edits.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::webhooks::{CreateOutcome, EditOutcome, OrganizationWebhooks, Webhooks};

use crate::MemoryStore;
use crate::tables::{DeletedWebhook, Tables, page};

#[async_trait]
impl Webhooks for MemoryStore {
    async fn organization_webhooks(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<OrganizationWebhooks>, StoreError> {
        let tables = self.lock();
        let of_organization = || tables.webhooks.values().filter(|hook| hook.organization == organization);
        Ok(tables.organizations.get(&organization).map(|row| OrganizationWebhooks {
            version: row.version,
            webhooks: of_organization().cloned().collect(),
        }))
    }

    async fn create_webhook(
        &self,
        webhook: &Webhook,
        scope_max: u32,
        audit: AuditEntry,
    ) -> Result<CreateOutcome, StoreError> {
        let mut tables = self.lock();
        if tables.in_scope(webhook.organization, &webhook.scope).any(|other| other.name == webhook.name) {
            return Ok(CreateOutcome::NameTaken);
        }
        if tables.in_scope(webhook.organization, &webhook.scope).count() >= scope_max as usize {
            return Ok(CreateOutcome::TooMany);
        }
        tables.bump_version(webhook.organization)?;
        tables.webhooks.insert(webhook.id, webhook.clone());
        tables.write_audit(audit);
        Ok(CreateOutcome::Done)
    }

    async fn edit_webhook(&self, webhook: &Webhook, audit: AuditEntry) -> Result<EditOutcome, StoreError> {
        let mut tables = self.lock();
        let Some(current) = tables.webhooks.get(&webhook.id) else {
            return Ok(EditOutcome::Missing);
        };
        if current.revision != webhook.revision {
            return Ok(EditOutcome::Outdated);
        }
        let edited = edited(current, webhook, audit.at);
        tables.bump_version(edited.organization)?;
        tables.webhooks.insert(edited.id, edited);
        tables.write_audit(audit);
        Ok(EditOutcome::Done)
    }

    async fn delete_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
        audit: AuditEntry,
    ) -> Result<Option<WebhookId>, StoreError> {
        let mut tables = self.lock();
        let Some(webhook) = tables.find_in_scope(organization, scope, name).cloned() else {
            return Ok(None);
        };
        let id = webhook.id;
        tables.bump_version(organization)?;
        tables.webhooks.remove(&id);
        tables.deleted_webhooks.insert(id, DeletedWebhook { webhook, by: audit.actor.clone() });
        tables.write_audit(audit);
        Ok(Some(id))
    }

    async fn find_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Result<Option<Webhook>, StoreError> {
        Ok(self.lock().find_in_scope(organization, scope, name).cloned())
    }

    async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError> {
        let tables = self.lock();
        let found = tables.webhooks.get(&id).filter(|webhook| webhook.organization == organization);
        Ok(found.cloned())
    }

    async fn list_all_webhooks(
        &self,
        organization: OrganizationId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let tables = self.lock();
        let of_organization = tables.webhooks.values().filter(|hook| hook.organization == organization);
        let beyond = of_organization.filter(|webhook| after.is_none_or(|after| webhook.id > after));
        Ok(page(beyond.cloned(), limit))
    }

    async fn list_webhooks(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let tables = self.lock();
        let beyond = tables
            .in_scope(organization, scope)
            .filter(|webhook| after.is_none_or(|after| webhook.id > after));
        Ok(page(beyond.cloned(), limit))
    }

    async fn resume_webhook(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        let Some(webhook) = tables.webhooks.get_mut(&webhook) else {
            return Ok(false);
        };
        webhook.health = webhook.health.resumed(now);
        let organization = webhook.organization;
        tables.bump_version(organization)?;
        tables.write_audit(audit);
        Ok(true)
    }
}

impl Tables {
    /// The webhooks of a scope, by id.
    fn in_scope(&self, organization: OrganizationId, scope: &Scope) -> impl Iterator<Item = &Webhook> {
        self.webhooks
            .values()
            .filter(move |webhook| webhook.organization == organization && webhook.scope == *scope)
    }

    fn find_in_scope(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Option<&Webhook> {
        self.in_scope(organization, scope).find(|webhook| webhook.name == *name)
    }
}

fn edited(current: &Webhook, wanted: &Webhook, at: Timestamp) -> Webhook {
    let edit = wanted.edit_of(current.active, current.endpoint());
    Webhook {
        id: current.id,
        organization: current.organization,
        scope: current.scope.clone(),
        name: current.name.clone(),
        created_at: current.created_at,
        revision: current.revision + 1,
        health: current.health.edited(edit, at),
        ..wanted.clone()
    }
}
