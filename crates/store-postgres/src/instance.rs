//! Operations on the instance as a whole.

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

// Commits share this lock and a hold takes it exclusively, so that a hold returns only after the commits that did not see it have
// ended. No organization has the number 0.
statement!(LOCK_SHARED = "/* sending_held.lock */ SELECT pg_advisory_xact_lock_shared(1113943148, 0)";);

statement!(LOCK = "/* hold_sending.lock */ SELECT pg_advisory_xact_lock(1113943148, 0)";);

// If two transactions hold or resume at the same time, the second one waits and checks the condition again.
statement!(HOLD = "/* hold_sending */ UPDATE meta SET sending_held_since = $1, sending_hold_reason = $2 \
    WHERE sending_held_since IS NULL"; INT8, TEXT);

statement!(RESUME = "/* resume_sending */ UPDATE meta SET sending_held_since = NULL, \
    sending_hold_reason = NULL WHERE sending_held_since IS NOT NULL";);

// Locks in the order in which all transactions lock webhooks.
statement!(END_HOLDS = "/* resume_sending.webhooks */ WITH locked AS ( \
        SELECT number FROM webhooks WHERE deleted_at IS NULL ORDER BY number FOR NO KEY UPDATE \
    ) UPDATE webhooks w SET hold_ended_at = $1 FROM locked WHERE w.number = locked.number"; INT8);

#[async_trait]
impl Instance for PostgresStore {
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError> {
        self.engine_pool.run(Access::Read, "sending_hold", |tx| async move { find_hold(&tx).await }).await
    }

    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("hold_sending", |tx| async move {
            tx.rows(&LOCK, &[]).await?;
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

/// Blocks new holds until the transaction ends.
pub(crate) async fn lock_sending(tx: &Transaction) -> Result<(), Fault> {
    tx.rows(&LOCK_SHARED, &[]).await.map(|_| ())
}

/// Whether sending is held. The transaction has called [`lock_sending`].
pub(crate) async fn is_sending_held(tx: &Transaction) -> Result<bool, Fault> {
    let is_held = tx.first(&IS_HELD, &[], "meta", |cursor| cursor.flag("sending_held_since")).await?;
    is_held.ok_or_else(|| Fault::missing("meta", &"one"))
}
