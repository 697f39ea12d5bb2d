//! Organizations' credentials for starting deployments.

use async_trait::async_trait;
use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::ids::OrganizationId;
use stackbell_model::secret::Sealed;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::deployments::Deployments;
use stackbell_store::rows::{Columns as _, Id as _, join};

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::rows::Cursor;
use crate::statement::statement;

statement!(FIND = "/* deployments_credential */ SELECT o.id, c.api_url, c.token_key, c.token, c.stacks, c.set_at \
    FROM organizations o JOIN deployments_credentials c ON c.organization_number = o.number WHERE o.id = $1"; UUID);

statement!(SET = "/* set_deployments_credential */ INSERT INTO deployments_credentials \
    (organization_number, api_url, token_key, token, stacks, set_at) \
    SELECT number, $2, $3, $4, $5, $6 FROM organizations WHERE id = $1 \
    ON CONFLICT (organization_number) DO UPDATE SET api_url = excluded.api_url, token_key = excluded.token_key, \
        token = excluded.token, stacks = excluded.stacks, set_at = excluded.set_at";
    UUID, TEXT, UUID, BYTEA, TEXT, INT8);

statement!(REMOVE = "/* remove_deployments_credential */ DELETE FROM deployments_credentials c \
    USING organizations o WHERE o.id = $1 AND c.organization_number = o.number"; UUID);

#[async_trait]
impl Deployments for PostgresStore {
    async fn deployments_credential(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<DeploymentsCredential>, StoreError> {
        self.read("deployments_credential", |tx| async move {
            tx.first(&FIND, &[&organization.uuid()], "deployments_credentials", read).await
        })
        .await
    }

    async fn set_deployments_credential(
        &self,
        credential: &DeploymentsCredential,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        let stacks: Vec<String> = credential.stacks.iter().map(ToString::to_string).collect();
        let stacks = &join(stacks.iter().map(String::as_str));
        self.write("set_deployments_credential", |tx| async move {
            let DeploymentsCredential { organization, api_url, token, set_at, .. } = credential;
            let (organization, key) = (organization.uuid(), token.key.uuid());
            let (api_url, bytes, set_at) = (api_url.as_str(), &*token.bytes, set_at.as_millis());
            if tx.change(&SET, &[&organization, &api_url, &key, &bytes, stacks, &set_at]).await? == 0 {
                return Ok(false);
            }
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }

    async fn remove_deployments_credential(
        &self,
        organization: OrganizationId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("remove_deployments_credential", |tx| async move {
            if tx.change(&REMOVE, &[&organization.uuid()]).await? == 0 {
                return Ok(false);
            }
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }
}

fn read(cursor: &mut Cursor<'_>) -> Result<DeploymentsCredential, Fault> {
    Ok(DeploymentsCredential {
        organization: cursor.id("organization_number")?,
        api_url: cursor.parsed("api_url", str::parse)?,
        token: Sealed { key: cursor.id("token_key")?, bytes: cursor.bytes("token")?.into() },
        stacks: cursor.words("stacks", StackReference::parse)?,
        set_at: cursor.time("set_at")?,
    })
}
