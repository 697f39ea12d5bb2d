//! Organizations' credentials for starting deployments.

use async_trait::async_trait;
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::ids::OrganizationId;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::deployments::Deployments;

use crate::MemoryStore;

#[async_trait]
impl Deployments for MemoryStore {
    async fn deployments_credential(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<DeploymentsCredential>, StoreError> {
        Ok(self.lock().deployments_credentials.get(&organization).cloned())
    }

    async fn set_deployments_credential(
        &self,
        credential: &DeploymentsCredential,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if !tables.organizations.contains_key(&credential.organization) {
            return Ok(false);
        }
        tables.deployments_credentials.insert(credential.organization, credential.clone());
        tables.write_audit(audit);
        Ok(true)
    }

    async fn remove_deployments_credential(
        &self,
        organization: OrganizationId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.deployments_credentials.remove(&organization).is_none() {
            return Ok(false);
        }
        tables.write_audit(audit);
        Ok(true)
    }
}
