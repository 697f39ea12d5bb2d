//! The append-only audit log. A change of the store writes its entry in its own transaction.
//! Actions that do not change the store, such as a ping or a backup, append their entry before they begin.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{AuditId, OrganizationId, TokenId};

use crate::StoreError;

/// An audit entry: one change, with its actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id, ordered by time.
    pub id: AuditId,
    /// The time of the change.
    pub at: Timestamp,
    /// The organization; `None` for the instance.
    pub organization: Option<OrganizationId>,
    /// The actor: a login, a service token's name, or `stackbell` itself.
    pub actor: Box<str>,
    /// The token of the request.
    pub token: Option<TokenId>,
    /// The remote address of the request.
    pub remote: Option<Box<str>>,
    /// The action, as `noun.verb`.
    pub action: &'static str,
    /// The target, in words that identify it.
    pub target: Box<str>,
    /// The names of the changed fields, without their values, which may be secrets.
    pub fields: Vec<&'static str>,
}

/// An audit entry as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// See [`AuditEntry::id`].
    pub id: AuditId,
    /// See [`AuditEntry::at`].
    pub at: Timestamp,
    /// See [`AuditEntry::organization`].
    pub organization: Option<OrganizationId>,
    /// See [`AuditEntry::actor`].
    pub actor: String,
    /// See [`AuditEntry::token`].
    pub token: Option<TokenId>,
    /// See [`AuditEntry::remote`].
    pub remote: Option<String>,
    /// See [`AuditEntry::action`].
    pub action: String,
    /// See [`AuditEntry::target`].
    pub target: String,
    /// See [`AuditEntry::fields`].
    pub fields: Vec<String>,
}

impl From<AuditEntry> for AuditRecord {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            organization: entry.organization,
            actor: entry.actor.into(),
            token: entry.token,
            remote: entry.remote.map(Into::into),
            action: entry.action.to_owned(),
            target: entry.target.into(),
            fields: entry.fields.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Access to the audit log.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Appends the entry of an action that does not change the store: a ping, a redelivery, a backup.
    ///
    /// # Errors
    /// [`StoreError`]; the action must then not begin.
    async fn append_audit(&self, audit: AuditEntry) -> Result<(), StoreError>;

    /// Returns up to `limit` entries of an organization (`None`: of the instance), newest first, older than
    /// `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_audit(
        &self,
        organization: Option<OrganizationId>,
        before: Option<AuditId>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError>;
}
