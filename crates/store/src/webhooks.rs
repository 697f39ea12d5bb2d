//! Webhooks as people edit them.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;

use crate::StoreError;
use crate::audit::AuditEntry;

/// Everything that matching an organization's events needs, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationWebhooks {
    /// Grows with every edit of the organization, its webhooks, its members and its tokens. An intake must name it.
    pub version: u64,
    /// All its webhooks, inactive ones too, by id.
    pub webhooks: Vec<Webhook>,
}

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is in.
    Done,
    /// Its scope has a webhook of this name. This is looked at before the number of webhooks is.
    NameTaken,
    /// Its scope has as many webhooks as allowed.
    TooMany,
}

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditOutcome {
    /// It is in.
    Done,
    /// The webhook is not there any more.
    Missing,
    /// Somebody else edited it since it was read. Read it again.
    Outdated,
}

/// Editing webhooks. Each change bumps the organization's version and writes its audit entry in the same transaction;
/// what was refused changes nothing and writes none.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// All webhooks of an organization with the version that an intake must name; `None` when there is no such organization.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn organization_webhooks(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<OrganizationWebhooks>, StoreError>;

    /// Inserts a webhook, unless its scope has `scope_max` already.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_webhook(
        &self,
        webhook: &Webhook,
        scope_max: u32,
        audit: AuditEntry,
    ) -> Result<CreateOutcome, StoreError>;

    /// Replaces what people can edit of a webhook: everything but its id, organization, scope, name, creation and health.
    /// `webhook.revision` is the one that was read; the row gets the next.
    /// Setting it active after it was not marks the end of a hold (`Health::hold_ended_at`) at `audit.at`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn edit_webhook(&self, webhook: &Webhook, audit: AuditEntry) -> Result<EditOutcome, StoreError>;

    /// Deletes a webhook; `None` when there was none. Its name is free at once.
    /// Its pending deliveries are never leased again; [`crate::maintenance::Maintenance::sweep`] marks them cancelled by `audit.actor`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
        audit: AuditEntry,
    ) -> Result<Option<WebhookId>, StoreError>;

    /// The webhook of this name in this scope.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Result<Option<Webhook>, StoreError>;

    /// The webhook of this organization with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Up to `limit` webhooks of an organization, of all scopes, oldest first (by id), beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_all_webhooks(
        &self,
        organization: OrganizationId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError>;

    /// Up to `limit` webhooks of a scope, oldest first (by id), beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_webhooks(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError>;

    /// Ends a webhook's suspension, as [`stackbell_model::health::Health::resumed`] says; `false` when it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn resume_webhook(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;
}
