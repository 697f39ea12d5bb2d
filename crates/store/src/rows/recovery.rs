//! Recoveries.

use stackbell_model::recovery::{Recovery, RecoveryState};

use super::Columns;

/// The columns of `recoveries r` and its `organizations o`.
#[macro_export]
macro_rules! recovery_columns {
    () => {
        "r.id, o.id, r.webhook, r.since, r.created_at, r.created_by, r.total, r.rearmed, r.state, r.ended_at"
    };
}

/// Reads a recovery: `id`, its organization's id, `webhook` to `ended_at`.
///
/// # Errors
/// If the row is not valid.
pub fn read_recovery<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Recovery, C::Fault> {
    cursor.enter("recoveries");
    Ok(Recovery {
        id: cursor.id("id")?,
        organization: cursor.id("organization_number")?,
        webhook: cursor.id("webhook")?,
        since: cursor.time("since")?,
        created_at: cursor.time("created_at")?,
        created_by: cursor.text("created_by")?.into(),
        total: cursor.number("total")?,
        rearmed: cursor.number("rearmed")?,
        state: read_state(cursor)?,
    })
}

fn read_state<'row, C: Columns<'row>>(cursor: &mut C) -> Result<RecoveryState, C::Fault> {
    let state = cursor.text("state")?;
    match (state, cursor.time_or_null("ended_at")?) {
        ("running", None) => Ok(RecoveryState::Running),
        ("done", Some(at)) => Ok(RecoveryState::Done { at }),
        ("abandoned", Some(at)) => Ok(RecoveryState::Abandoned { at }),
        _ => Err(cursor.fault("state", &"does not go with the time beside it")),
    }
}
