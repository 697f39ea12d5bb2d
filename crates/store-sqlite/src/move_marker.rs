//! The mark of a file that is copied to another store.
//!
//! No server opens a marked file, so that its rows do not change during the copy and are not served twice after it.
//! `stackbell store take-back` removes the mark.

use std::path::Path;

use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::rows::Columns as _;
use stackbell_store::transfer::CopyId;

use crate::SqliteStore;
use crate::error::{Fault, OpenError};
use crate::rows::audit::insert_audit;
use crate::rows::{change, first};
use crate::session::{Access, connect};

const FIND: &str = "/* find_move */ SELECT one, move_id, move_target, move_begun_at, move_ended_at FROM meta";

const BEGIN: &str = "/* begin_move */ UPDATE meta SET move_id = ?1, move_target = ?2, move_begun_at = ?3 \
    WHERE move_id IS NULL";

const END: &str =
    "/* end_move */ UPDATE meta SET move_ended_at = ?2 WHERE move_id = ?1 AND move_ended_at IS NULL";

const TAKE_BACK: &str = "/* take_back */ UPDATE meta SET move_id = NULL, move_target = NULL, \
    move_begun_at = NULL, move_ended_at = NULL WHERE move_id IS NOT NULL";

/// The mark of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The id of the copy, which the other store has too.
    pub id: CopyId,
    /// The other store, for users.
    pub target: String,
    /// When the file was marked.
    pub begun_at: Timestamp,
    /// When the copy was completed; `None` before.
    pub ended_at: Option<Timestamp>,
}

impl SqliteStore {
    /// The mark; `None` for a file without one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_move(&self) -> Result<Option<Move>, StoreError> {
        self.read("find_move", find).await
    }

    /// Marks the file, unless it has a mark. From now on [`Self::open`] refuses it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_move(&self, id: CopyId, target: &str, now: Timestamp) -> Result<(), StoreError> {
        let target = target.to_owned();
        self.write("begin_move", move |connection, _| {
            change(connection, BEGIN, params![id.as_bytes(), target, now.as_millis()])?;
            Ok(())
        })
        .await
    }

    /// Stores in the mark that the copy is complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_move(&self, id: CopyId, now: Timestamp) -> Result<(), StoreError> {
        self.write("end_move", move |connection, _| {
            change(connection, END, params![id.as_bytes(), now.as_millis()])?;
            Ok(())
        })
        .await
    }

    /// Removes the mark; `false` if there is none. A copy of the file is then an independent store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_back(&self, audit: AuditEntry) -> Result<bool, StoreError> {
        self.write("take_back", move |connection, _| {
            if change(connection, TAKE_BACK, [])? == 0 {
                return Ok(false);
            }
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }
}

fn find(connection: &Connection) -> Result<Option<Move>, Fault> {
    let found = first(connection, FIND, [], "meta", |cursor| {
        cursor.skip("one")?;
        let Some(id) = cursor.uuid_or_null("move_id")? else { return Ok(None) };
        Ok(Some(Move {
            id,
            target: cursor.text("move_target")?.to_owned(),
            begun_at: cursor.time("move_begun_at")?,
            ended_at: cursor.time_or_null("move_ended_at")?,
        }))
    })?;
    Ok(found.flatten())
}

/// Refuses a file with a mark.
pub(crate) fn check_not_marked(path: &Path) -> Result<(), OpenError> {
    let at_path = |source| OpenError::at(path, source);
    let connection = connect(path, Access::Read).map_err(at_path)?;
    let found = find(&connection).map_err(|fault| match fault {
        Fault::Driver(source) => at_path(source),
        Fault::Lost(_) | Fault::Unreadable { .. } => {
            OpenError::Inconsistent { path: path.to_owned(), problem: fault.to_string() }
        }
    })?;
    match found {
        None => Ok(()),
        Some(Move { target, ended_at, .. }) => {
            Err(OpenError::Moved { path: path.to_owned(), target, is_there: ended_at.is_some() })
        }
    }
}
