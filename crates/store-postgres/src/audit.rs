//! The audit log.

use async_trait::async_trait;
use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_store::StoreError;
use stackbell_store::audit::{Audit, AuditEntry, AuditRecord};
use stackbell_store::audit_columns;
use stackbell_store::rows::audit::read_audit;
use stackbell_store::rows::{Id, join};
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(INSERT = concat!(
    "/* insert_audit */ INSERT INTO audit (",
    audit_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
); UUID, INT8, UUID, TEXT, UUID, TEXT, TEXT, TEXT, TEXT);

statement!(LIST_OF_ORGANIZATION = concat!(
    "/* list_audit.organization */ SELECT ",
    audit_columns!(),
    " FROM audit WHERE organization = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
); UUID, UUID, INT8);

// The order names the constant `organization` too, because the planner otherwise does not see that the index has this order.
statement!(LIST_OF_INSTANCE = concat!(
    "/* list_audit.instance */ SELECT ",
    audit_columns!(),
    " FROM audit WHERE organization IS NULL AND id < $1 ORDER BY organization DESC, id DESC LIMIT $2"
); UUID, INT8);

#[async_trait]
impl Audit for PostgresStore {
    async fn append_audit(&self, audit: AuditEntry) -> Result<(), StoreError> {
        let audit = &audit;
        self.write("append_audit", |tx| async move { insert_audit(&tx, audit).await }).await
    }

    async fn list_audit(
        &self,
        organization: Option<OrganizationId>,
        before: Option<AuditId>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        // No entry has the greatest id.
        let before = before.as_ref().map_or(Uuid::max(), Id::uuid);
        let limit = i64::from(limit);
        self.read("list_audit", |tx| async move {
            match organization.as_ref().map(Id::uuid) {
                Some(organization) => {
                    tx.list(&LIST_OF_ORGANIZATION, &[&organization, &before, &limit], "audit", |cursor| {
                        read_audit(cursor)
                    })
                    .await
                }
                None => {
                    tx.list(&LIST_OF_INSTANCE, &[&before, &limit], "audit", |cursor| read_audit(cursor)).await
                }
            }
        })
        .await
    }
}

/// Inserts an entry.
pub(crate) async fn insert_audit(tx: &Transaction, entry: &AuditEntry) -> Result<(), Fault> {
    tx.change(
        &INSERT,
        &[
            &entry.id.uuid(),
            &entry.at.as_millis(),
            &entry.organization.as_ref().map(Id::uuid),
            &entry.actor,
            &entry.token.as_ref().map(Id::uuid),
            &entry.remote,
            &entry.action,
            &entry.target,
            &join(entry.fields.iter().copied()),
        ],
    )
    .await?;
    Ok(())
}
