//! The audit log.

use async_trait::async_trait;
use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_store::StoreError;
use stackbell_store::audit::{Audit, AuditEntry, AuditRecord};

use crate::MemoryStore;
use crate::tables::page;

#[async_trait]
impl Audit for MemoryStore {
    async fn append_audit(&self, audit: AuditEntry) -> Result<(), StoreError> {
        self.lock().write_audit(audit);
        Ok(())
    }

    async fn list_audit(
        &self,
        organization: Option<OrganizationId>,
        before: Option<AuditId>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let tables = self.lock();
        let newest_first = tables.audit.values().rev();
        let older = newest_first
            .filter(|record| record.organization == organization)
            .filter(|record| before.is_none_or(|before| record.id < before));
        Ok(page(older.cloned(), limit))
    }
}
