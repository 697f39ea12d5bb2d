//! Webhooks and their edits.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;

use crate::StoreError;
use crate::audit::AuditEntry;

/// All data for matching an organization's events, from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationWebhooks {
    /// A number that grows with every edit of the organization, its webhooks, its members and its tokens. An
    /// intake must name it.
    pub version: u64,
    /// All its webhooks, including inactive ones, ordered by id.
    pub webhooks: Vec<Webhook>,
}

/// The result of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The webhook was created.
    Done,
    /// Its scope has a webhook with this name. This is checked before the number of webhooks.
    NameTaken,
    /// Its scope has the maximum number of webhooks.
    TooMany,
}

/// The result of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditOutcome {
    /// The edit was made.
    Done,
    /// The webhook no longer exists.
    Missing,
    /// The webhook was edited since it was read. Read it again.
    Outdated,
}

/// Edits webhooks. Each change increments the organization's version and writes its audit entry in the same
/// transaction. A rejected change changes nothing and writes no entry.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Returns all webhooks of an organization with the version that an intake must name; `None` if there is
    /// no such organization.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn organization_webhooks(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<OrganizationWebhooks>, StoreError>;

    /// Inserts a webhook, unless its scope has `scope_max` webhooks already.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_webhook(
        &self,
        webhook: &Webhook,
        scope_max: u32,
        audit: AuditEntry,
    ) -> Result<CreateOutcome, StoreError>;

    /// Replaces the editable fields of a webhook: all but its id, organization, scope, name, creation time
    /// and health.
    /// `webhook.revision` is the revision that was read; the row gets the next one. An edit that activates
    /// the webhook sets the end of its hold (`Health::hold_ended_at`) to `audit.at`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn edit_webhook(&self, webhook: &Webhook, audit: AuditEntry) -> Result<EditOutcome, StoreError>;

    /// Deletes a webhook; `None` if there is none. Its name is free at once. Its pending deliveries are never
    /// leased again; [`crate::maintenance::Maintenance::sweep`] marks them as cancelled by `audit.actor`.
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

    /// Returns the webhook with this name in this scope.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_webhook(
        &self,
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Returns an organization's webhook with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Returns up to `limit` webhooks of an organization, of all scopes, oldest first (by id), after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_all_webhooks(
        &self,
        organization: OrganizationId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError>;

    /// Returns up to `limit` webhooks of a scope, oldest first (by id), after `after`.
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

    /// Ends a webhook's suspension by [`stackbell_model::health::Health::resumed`]; `false` if the webhook
    /// does not exist.
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
