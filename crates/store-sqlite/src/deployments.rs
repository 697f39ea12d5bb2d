//! Organizations' credentials for starting deployments.

use async_trait::async_trait;
use rusqlite::params;
use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::ids::OrganizationId;
use stackbell_model::secret::Sealed;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::deployments::Deployments;

use crate::SqliteStore;
use crate::error::Fault;
use crate::identity::find_organization;
use crate::rows::audit::insert_audit;
use crate::rows::{Cursor, change, first};
use stackbell_store::rows::{Columns as _, Id, join};

pub(crate) const FIND: &str = "/* deployments_credential */ SELECT o.id, c.api_url, c.token_key, c.token, \
    c.stacks, c.set_at FROM organizations o JOIN deployments_credentials c ON c.organization_number = o.number \
    WHERE o.id = ?1";

const SET: &str = "/* set_deployments_credential */ INSERT OR REPLACE INTO deployments_credentials \
    (organization_number, api_url, token_key, token, stacks, set_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const REMOVE: &str =
    "/* remove_deployments_credential */ DELETE FROM deployments_credentials WHERE organization_number = ?1";

#[async_trait]
impl Deployments for SqliteStore {
    async fn deployments_credential(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<DeploymentsCredential>, StoreError> {
        self.read("deployments_credential", move |connection| {
            first(connection, FIND, [organization.bytes()], "deployments_credentials", read)
        })
        .await
    }

    async fn set_deployments_credential(
        &self,
        credential: &DeploymentsCredential,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let credential = credential.clone();
        self.write("set_deployments_credential", move |connection, _| {
            let Some(number) = find_organization(connection, credential.organization)? else {
                return Ok(false);
            };
            let stacks: Vec<String> = credential.stacks.iter().map(ToString::to_string).collect();
            let parameters = params![
                number,
                credential.api_url.as_str(),
                credential.token.key.bytes(),
                credential.token.bytes,
                join(stacks.iter().map(String::as_str)),
                credential.set_at.as_millis(),
            ];
            change(connection, SET, parameters)?;
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn remove_deployments_credential(
        &self,
        organization: OrganizationId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write("remove_deployments_credential", move |connection, _| {
            let Some(number) = find_organization(connection, organization)? else { return Ok(false) };
            if change(connection, REMOVE, [number])? == 0 {
                return Ok(false);
            }
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }
}

fn read(cursor: &mut Cursor<'_>) -> Result<DeploymentsCredential, Fault> {
    Ok(DeploymentsCredential {
        organization: cursor.id("organization_number")?,
        api_url: cursor.parsed("api_url", str::parse)?,
        token: Sealed { key: cursor.id("token_key")?, bytes: cursor.get::<Vec<u8>>("token")?.into() },
        stacks: cursor.words("stacks", StackReference::parse)?,
        set_at: cursor.time("set_at")?,
    })
}
