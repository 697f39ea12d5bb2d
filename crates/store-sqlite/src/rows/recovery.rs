//! Recoveries.

use stackbell_model::recovery::{Recovery, RecoveryState};

use crate::error::Fault;
use crate::rows::Cursor;

/// Of `recoveries r` and its `organizations o`.
macro_rules! recovery_columns {
    () => {
        "r.id, o.id, r.webhook, r.since, r.created_at, r.created_by, r.total, r.rearmed, r.state, r.ended_at"
    };
}
pub(crate) use recovery_columns;

pub(crate) fn read_recovery(cursor: &mut Cursor<'_>) -> Result<Recovery, Fault> {
    cursor.enter("recoveries");
    Ok(Recovery {
        id: cursor.id("id")?,
        organization: cursor.id("organization_number")?,
        webhook: cursor.id("webhook")?,
        since: cursor.time("since")?,
        created_at: cursor.time("created_at")?,
        created_by: cursor.get("created_by")?,
        total: cursor.count("total")?,
        rearmed: cursor.count("rearmed")?,
        state: read_state(cursor)?,
    })
}

fn read_state(cursor: &mut Cursor<'_>) -> Result<RecoveryState, Fault> {
    let state = cursor.text("state")?;
    match (state, cursor.time_or_null("ended_at")?) {
        ("running", None) => Ok(RecoveryState::Running),
        ("done", Some(at)) => Ok(RecoveryState::Done { at }),
        ("abandoned", Some(at)) => Ok(RecoveryState::Abandoned { at }),
        _ => Err(cursor.fault("state", &"does not go with the time beside it")),
    }
}
