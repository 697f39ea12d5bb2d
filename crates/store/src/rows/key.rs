//! Data keys.

use stackbell_model::secret::{Purpose, SealedDataKey};

use super::Columns;

/// Reads the columns id, purpose, bytes and created_at.
///
/// # Errors
/// If the row is not valid.
pub fn read_data_key<'row, C: Columns<'row>>(cursor: &mut C) -> Result<SealedDataKey, C::Fault> {
    Ok(SealedDataKey {
        id: cursor.id("id")?,
        purpose: cursor.word("purpose", Purpose::parse)?,
        bytes: cursor.bytes("bytes")?.into(),
        created_at: cursor.time("created_at")?,
    })
}
