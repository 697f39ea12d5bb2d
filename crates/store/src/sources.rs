//! Sources of events: their cursors. [`crate::commit::Commit::commit`] advances them.

use async_trait::async_trait;
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::SourceCursor;

use crate::StoreError;

/// Reading cursors.
#[async_trait]
pub trait Sources: Send + Sync {
    /// The cursor of an organization's source; `None` before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn source_cursor(
        &self,
        organization: OrganizationId,
        source: SourceId,
    ) -> Result<Option<SourceCursor>, StoreError>;
}
