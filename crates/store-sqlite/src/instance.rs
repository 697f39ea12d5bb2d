//! Operations on the instance as a whole.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::instance::{Instance, SendingHold};

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::audit::insert_audit;
use crate::rows::{change, first};
use stackbell_store::rows::Columns as _;

pub(crate) const FIND: &str =
    "/* sending_hold */ SELECT one, sending_held_since, sending_hold_reason FROM meta";

pub(crate) const IS_HELD: &str = "/* sending_held */ SELECT one, sending_held_since IS NOT NULL FROM meta";

const HOLD: &str = "/* hold_sending */ UPDATE meta SET sending_held_since = ?1, sending_hold_reason = ?2 \
    WHERE sending_held_since IS NULL";

const RESUME: &str = "/* resume_sending */ UPDATE meta SET sending_held_since = NULL, \
    sending_hold_reason = NULL WHERE sending_held_since IS NOT NULL";

const END_HOLDS: &str = "/* resume_sending.webhooks */ UPDATE webhooks SET hold_ended_at = ?1 \
    WHERE deleted_at IS NULL";

#[async_trait]
impl Instance for SqliteStore {
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError> {
        self.read("sending_hold", find_hold).await
    }

    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError> {
        let hold = hold.clone();
        self.write("hold_sending", move |connection, _| {
            if change(connection, HOLD, params![hold.since.as_millis(), hold.reason])? == 0 {
                return Ok(false);
            }
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn resume_sending(&self, audit: AuditEntry) -> Result<bool, StoreError> {
        self.write("resume_sending", move |connection, _| {
            if change(connection, RESUME, [])? == 0 {
                return Ok(false);
            }
            change(connection, END_HOLDS, [audit.at.as_millis()])?;
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }
}

pub(crate) fn find_hold(connection: &Connection) -> Result<Option<SendingHold>, Fault> {
    let hold = first(connection, FIND, [], "meta", |cursor| {
        cursor.skip("one")?;
        let since = cursor.time_or_null("sending_held_since")?;
        Ok(since.zip(cursor.get("sending_hold_reason")?))
    })?;
    Ok(hold.flatten().map(|(since, reason)| SendingHold { since, reason }))
}

pub(crate) fn is_sending_held(connection: &Connection) -> Result<bool, Fault> {
    let is_held = first(connection, IS_HELD, [], "meta", |cursor| {
        cursor.skip("one")?;
        cursor.flag("sending_held_since")
    })?;
    is_held.ok_or_else(|| Fault::missing("meta", &"one"))
}

/// Only one process uses the store, so there is no other node.
impl stackbell_store::nodes::Nodes for SqliteStore {}
