//! Cursors of sources.

use async_trait::async_trait;
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::SourceCursor;
use stackbell_store::StoreError;
use stackbell_store::rows::{Columns as _, Id as _};
use stackbell_store::sources::Sources;

use crate::PostgresStore;
use crate::statement::statement;

statement!(SOURCE_CURSOR = "/* source_cursor */ SELECT c.cursor FROM organizations o \
    JOIN source_cursors c ON c.organization_number = o.number WHERE o.id = $1 AND c.source = $2"; UUID, UUID);

#[async_trait]
impl Sources for PostgresStore {
    async fn source_cursor(
        &self,
        organization: OrganizationId,
        source: SourceId,
    ) -> Result<Option<SourceCursor>, StoreError> {
        let (organization, source) = (organization.uuid(), source.uuid());
        self.read("source_cursor", |tx| async move {
            tx.first(&SOURCE_CURSOR, &[&organization, &source], "source_cursors", |cursor| {
                cursor.word("cursor", SourceCursor::parse)
            })
            .await
        })
        .await
    }
}
