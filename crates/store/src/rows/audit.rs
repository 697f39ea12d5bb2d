//! Audit entries.

use crate::audit::AuditRecord;

use super::{Columns, split};

/// The columns of `audit`.
#[macro_export]
macro_rules! audit_columns {
    () => {
        "id, at, organization, actor, token, remote, action, target, fields"
    };
}

/// Reads an audit entry: `id` to `fields`.
///
/// # Errors
/// If the row is not valid.
pub fn read_audit<'row, C: Columns<'row>>(cursor: &mut C) -> Result<AuditRecord, C::Fault> {
    Ok(AuditRecord {
        id: cursor.id("id")?,
        at: cursor.time("at")?,
        organization: cursor.id_or_null("organization")?,
        actor: cursor.text("actor")?.into(),
        token: cursor.id_or_null("token")?,
        remote: cursor.text_or_null("remote")?.map(Into::into),
        action: cursor.text("action")?.into(),
        target: cursor.text("target")?.into(),
        fields: split(cursor.text("fields")?).map(str::to_owned).collect(),
    })
}
