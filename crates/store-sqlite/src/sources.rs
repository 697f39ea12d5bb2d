//! Cursors of sources.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::StoreError;
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::sources::Sources;

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::{change, first};

pub(crate) const SOURCE_CURSOR: &str = "/* source_cursor */ SELECT c.cursor FROM organizations o \
    JOIN source_cursors c ON c.organization_number = o.number WHERE o.id = ?1 AND c.source = ?2";

pub(crate) const FIND_CURSOR: &str = "/* commit.find_cursor */ SELECT cursor FROM source_cursors \
    WHERE organization_number = ?1 AND source = ?2";

const SET_CURSOR: &str = "/* commit.set_cursor */ INSERT INTO source_cursors (organization_number, source, cursor) \
    VALUES (?1, ?2, ?3) ON CONFLICT (organization_number, source) DO UPDATE SET cursor = excluded.cursor";

#[async_trait]
impl Sources for SqliteStore {
    async fn source_cursor(
        &self,
        organization: OrganizationId,
        source: SourceId,
    ) -> Result<Option<SourceCursor>, StoreError> {
        self.read("source_cursor", move |connection| {
            let parameters = params![organization.bytes(), source.bytes()];
            first(connection, SOURCE_CURSOR, parameters, "source_cursors", |cursor| {
                cursor.word("cursor", SourceCursor::parse)
            })
        })
        .await
    }
}

/// Finds the cursor of a source.
pub(crate) fn find_cursor(
    connection: &Connection,
    organization_number: i64,
    source: SourceId,
) -> Result<Option<SourceCursor>, Fault> {
    let parameters = params![organization_number, source.bytes()];
    first(connection, FIND_CURSOR, parameters, "source_cursors", |cursor| {
        cursor.word("cursor", SourceCursor::parse)
    })
}

/// Applies a change whose precondition was checked in the same transaction.
pub(crate) fn apply(
    connection: &Connection,
    organization_number: i64,
    applied: &Change,
) -> Result<(), rusqlite::Error> {
    match applied {
        Change::AdvanceCursor { source, from: _, to } => {
            let parameters = params![organization_number, source.bytes(), to.as_str()];
            change(connection, SET_CURSOR, parameters).map(drop)
        }
    }
}
