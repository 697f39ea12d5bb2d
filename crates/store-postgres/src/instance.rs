//! What concerns the installation as a whole.

use async_trait::async_trait;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::instance::{Instance, SendingHold};
use stackbell_store::rows::Columns as _;

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::session::{Access, Transaction};
use crate::statement::statement;

statement!(FIND = "/* sending_hold */ SELECT one::bigint, sending_held_since, sending_hold_reason FROM meta";);

statement!(IS_HELD = "/* sending_held */ SELECT sending_held_since IS NOT NULL FROM meta";);

// Commits pass together, who holds sending passes alone: it is answered once those are through that did not see the hold.
// The second number is no organization's.
statement!(PASS_TOGETHER = "/* sending_held.together */ SELECT pg_advisory_xact_lock_shared(1113943148, 0)";);

statement!(PASS_ALONE = "/* hold_sending.alone */ SELECT pg_advisory_xact_lock(1113943148, 0)";);

// Of two at the same time the second waits, and looks again: one holds, one resumes.
statement!(HOLD = "/* hold_sending */ UPDATE meta SET sending_held_since = $1, sending_hold_reason = $2 \
    WHERE sending_held_since IS NULL"; INT8, TEXT);

statement!(RESUME = "/* resume_sending */ UPDATE meta SET sending_held_since = NULL, \
    sending_hold_reason = NULL WHERE sending_held_since IS NOT NULL";);

// In the order in which everybody locks webhooks.
statement!(END_HOLDS = "/* resume_sending.webhooks */ WITH locked AS ( \
        SELECT number FROM webhooks WHERE deleted_at IS NULL ORDER BY number FOR NO KEY UPDATE \
    ) UPDATE webhooks w SET hold_ended_at = $1 FROM locked WHERE w.number = locked.number"; INT8);

#[async_trait]
impl Instance for PostgresStore {
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError> {
        self.engine.run(Access::Read, "sending_hold", |tx| async move { find_hold(&tx).await }).await
    }

    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("hold_sending", |tx| async move {
            tx.rows(&PASS_ALONE, &[]).await?;
            if tx.change(&HOLD, &[&hold.since.as_millis(), &hold.reason]).await? == 0 {
                return Ok(false);
            }
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }

    async fn resume_sending(&self, audit: AuditEntry) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("resume_sending", |tx| async move {
            if tx.change(&RESUME, &[]).await? == 0 {
                return Ok(false);
            }
            tx.change(&END_HOLDS, &[&audit.at.as_millis()]).await?;
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }
}

pub(crate) async fn find_hold(tx: &Transaction) -> Result<Option<SendingHold>, Fault> {
    let hold = tx
        .first(&FIND, &[], "meta", |cursor| {
            cursor.skip("one")?;
            let since = cursor.time_or_null("sending_held_since")?;
            Ok(since.zip(cursor.text_or_null("sending_hold_reason")?.map(Into::into)))
        })
        .await?;
    Ok(hold.flatten().map(|(since, reason)| SendingHold { since, reason }))
}

/// From here on until the end of this transaction nobody holds sending who had not before.
pub(crate) async fn keep_sending_as_it_is(tx: &Transaction) -> Result<(), Fault> {
    tx.rows(&PASS_TOGETHER, &[]).await.map(|_| ())
}

/// Whether sending is held; for a transaction that has it kept as it is.
pub(crate) async fn is_sending_held(tx: &Transaction) -> Result<bool, Fault> {
    let is_held = tx.first(&IS_HELD, &[], "meta", |cursor| cursor.flag("sending_held_since")).await?;
    is_held.ok_or_else(|| Fault::missing("meta", &"one"))
}
