//! The audit log.

use async_trait::async_trait;
use rusqlite::params;
use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_store::StoreError;
use stackbell_store::audit::{Audit, AuditEntry, AuditRecord};

use crate::SqliteStore;
use crate::rows::audit::insert_audit;
use crate::rows::list;
use stackbell_store::audit_columns;
use stackbell_store::rows::Id;
use stackbell_store::rows::audit::read_audit;

/// `?2` is greater than every id on the first page.
pub(crate) const LIST_AUDIT: &str = concat!(
    "/* list_audit */ SELECT ",
    audit_columns!(),
    " FROM audit WHERE organization IS ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
);

/// Greater than every id.
const LAST: [u8; 17] = [0xff; 17];

#[async_trait]
impl Audit for SqliteStore {
    async fn append_audit(&self, audit: AuditEntry) -> Result<(), StoreError> {
        self.write("append_audit", move |connection, _| Ok(insert_audit(connection, &audit)?)).await
    }

    async fn list_audit(
        &self,
        organization: Option<OrganizationId>,
        before: Option<AuditId>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.read("list_audit", move |connection| {
            let organization = organization.as_ref().map(Id::bytes);
            let before: &[u8] = before.as_ref().map_or(&LAST, |before| before.bytes());
            list(connection, LIST_AUDIT, params![organization, before, limit], "audit", |cursor| {
                read_audit(cursor)
            })
        })
        .await
    }
}
