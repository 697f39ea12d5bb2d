//! The append-only audit log. Entries are written by the change's own transaction, never by themselves.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{AuditId, OrganizationId, TokenId};

use crate::StoreError;

/// One change that somebody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id, ordered by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// In which organization; `None` for the instance.
    pub organization: Option<OrganizationId>,
    /// Who: a login, a service token's name, or `stackbell` itself.
    pub actor: Box<str>,
    /// With which token.
    pub token: Option<TokenId>,
    /// From which address.
    pub remote: Option<Box<str>>,
    /// What, as `noun.verb`.
    pub action: &'static str,
    /// To what, in words that find it.
    pub target: Box<str>,
    /// Which fields changed. Their names alone: values may be secrets.
    pub fields: Vec<&'static str>,
}

/// An entry as it is read back.
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

/// Reading the audit log.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Up to `limit` entries of an organization (`None`: of the instance), newest first, older than `before`.
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
