//! Audit entries.

use rusqlite::{Connection, params};
use stackbell_store::audit::AuditEntry;

use crate::rows::change;
use stackbell_store::audit_columns;
use stackbell_store::rows::{Id, join};

pub(crate) const INSERT_AUDIT: &str = concat!(
    "/* insert_audit */ INSERT INTO audit (",
    audit_columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
);

/// Inserts an entry.
pub(crate) fn insert_audit(connection: &Connection, entry: &AuditEntry) -> Result<(), rusqlite::Error> {
    let parameters = params![
        entry.id.bytes(),
        entry.at.as_millis(),
        entry.organization.as_ref().map(Id::bytes),
        entry.actor,
        entry.token.as_ref().map(Id::bytes),
        entry.remote,
        entry.action,
        entry.target,
        join(entry.fields.iter().copied()),
    ];
    change(connection, INSERT_AUDIT, parameters).map(|_| ())
}
