//! Audit entries.

use rusqlite::{Connection, params};
use stackbell_store::audit::{AuditEntry, AuditRecord};

use crate::error::Fault;
use crate::rows::{Cursor, Id, change, join, split};

macro_rules! audit_columns {
    () => {
        "id, at, organization, actor, token, remote, action, target, fields"
    };
}
pub(crate) use audit_columns;

pub(crate) fn read_audit(cursor: &mut Cursor<'_>) -> Result<AuditRecord, Fault> {
    Ok(AuditRecord {
        id: cursor.id("id")?,
        at: cursor.time("at")?,
        organization: cursor.id_or_null("organization")?,
        actor: cursor.get("actor")?,
        token: cursor.id_or_null("token")?,
        remote: cursor.get("remote")?,
        action: cursor.get("action")?,
        target: cursor.get("target")?,
        fields: split(cursor.text("fields")?).map(str::to_owned).collect(),
    })
}

pub(crate) const INSERT_AUDIT: &str = concat!(
    "/* insert_audit */ INSERT INTO audit (",
    audit_columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
);

/// Writes the entry of the change that the transaction makes.
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
