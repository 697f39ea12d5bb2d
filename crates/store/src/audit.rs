//! The append-only audit log. A change that the store makes has its entry in the change's own transaction.
//! Acts that are no change of the store, such as a ping or a backup, append their entry before they begin.

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

/// The audit log by itself.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Appends the entry of an act that is no change of the store: a ping, a redelivery, a backup.
    ///
    /// # Errors
    /// [`StoreError`]; the act must not begin then.
    async fn append_audit(&self, audit: AuditEntry) -> Result<(), StoreError>;

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
