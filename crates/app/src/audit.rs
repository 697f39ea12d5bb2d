//! The audit log: its entries, and reading them.

use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_model::permission::Permission;
use stackbell_store::audit::AuditEntry;
pub use stackbell_store::audit::AuditRecord;

use crate::auth::{Caller, OrganizationCaller};
use crate::page::{Page, one_more};
use crate::{App, Error};

/// The most entries on a page.
pub const AUDIT_LISTED_MAX: usize = 100;

impl App {
    /// What was changed in an organization, newest first; `limit` at the most, older than `before`.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn list_audit(
        &self,
        caller: &OrganizationCaller,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditRecord, AuditId>, Error> {
        let access = caller.require(Permission::ReadAudit)?;
        let limit = limit.clamp(1, AUDIT_LISTED_MAX);
        let records = self.store.list_audit(Some(access.organization.id), before, one_more(limit)).await?;
        Ok(Page::cut(records, limit, |record| record.id))
    }

    /// What was changed in the instance as a whole, newest first; `limit` at the most, older than `before`. Operators only.
    ///
    /// # Errors
    /// [`crate::Code::Forbidden`]; those of the store.
    pub async fn list_instance_audit(
        &self,
        caller: &Caller,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditRecord, AuditId>, Error> {
        caller.require_operator()?;
        let limit = limit.clamp(1, AUDIT_LISTED_MAX);
        let records = self.store.list_audit(None, before, one_more(limit)).await?;
        Ok(Page::cut(records, limit, |record| record.id))
    }

    /// Writes an entry for an act that is no change of the store, before the act begins: what was asked for is written down,
    /// whatever comes of it.
    ///
    /// # Errors
    /// Those of the store. The act must not begin then.
    pub(crate) async fn audit_act(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        action: &'static str,
        target: impl Into<Box<str>>,
    ) -> Result<(), Error> {
        let entry = self.audit(caller, organization, action, target, Vec::new());
        Ok(self.store.append_audit(entry).await?)
    }

    /// An entry for what `caller` changes now.
    pub(crate) fn audit(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        action: &'static str,
        target: impl Into<Box<str>>,
        fields: Vec<&'static str>,
    ) -> AuditEntry {
        let at = self.now();
        AuditEntry {
            id: self.chance(|entropy| AuditId::generate(at, entropy)),
            at,
            organization,
            actor: caller.name().into(),
            token: Some(caller.token().id),
            remote: caller.remote().map(|address| address.to_string().into()),
            action,
            target: target.into(),
            fields,
        }
    }
}
