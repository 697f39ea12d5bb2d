//! Data keys.

use stackbell_model::secret::{Purpose, SealedDataKey};

use crate::error::Fault;
use crate::rows::Cursor;

/// The columns id, purpose, bytes and created_at.
pub(crate) fn read_data_key(cursor: &mut Cursor<'_>) -> Result<SealedDataKey, Fault> {
    Ok(SealedDataKey {
        id: cursor.id("id")?,
        purpose: cursor.word("purpose", Purpose::parse)?,
        bytes: cursor.get::<Vec<u8>>("bytes")?.into(),
        created_at: cursor.time("created_at")?,
    })
}
