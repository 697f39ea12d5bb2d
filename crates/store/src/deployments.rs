//! Organizations' credentials for starting deployments.

use async_trait::async_trait;
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::ids::OrganizationId;

use crate::StoreError;
use crate::audit::AuditEntry;

/// Stores the credentials: at most one for each organization.
#[async_trait]
pub trait Deployments: Send + Sync {
    /// Returns an organization's credential.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deployments_credential(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<DeploymentsCredential>, StoreError>;

    /// Sets an organization's credential, and replaces an existing one; `false` if there is no such
    /// organization.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_deployments_credential(
        &self,
        credential: &DeploymentsCredential,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Removes an organization's credential; `false` if it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_deployments_credential(
        &self,
        organization: OrganizationId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;
}
