//! Cursors of sources.

use async_trait::async_trait;
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::SourceCursor;
use stackbell_store::StoreError;
use stackbell_store::sources::Sources;

use crate::MemoryStore;

#[async_trait]
impl Sources for MemoryStore {
    async fn source_cursor(
        &self,
        organization: OrganizationId,
        source: SourceId,
    ) -> Result<Option<SourceCursor>, StoreError> {
        Ok(self.lock().source_cursors.get(&(organization, source)).cloned())
    }
}
