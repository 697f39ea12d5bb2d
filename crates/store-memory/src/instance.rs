//! Holding and resuming all sending.

use async_trait::async_trait;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::instance::{Instance, SendingHold};

use crate::MemoryStore;

#[async_trait]
impl Instance for MemoryStore {
    async fn sending_hold(&self) -> Result<Option<SendingHold>, StoreError> {
        Ok(self.lock().sending_hold.clone())
    }

    async fn hold_sending(&self, hold: &SendingHold, audit: AuditEntry) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.sending_hold.is_some() {
            return Ok(false);
        }
        tables.sending_hold = Some(hold.clone());
        tables.write_audit(audit);
        Ok(true)
    }

    async fn resume_sending(&self, audit: AuditEntry) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.sending_hold.take().is_none() {
            return Ok(false);
        }
        for webhook in tables.webhooks.values_mut() {
            webhook.health.hold_ended_at = Some(audit.at);
        }
        tables.write_audit(audit);
        Ok(true)
    }
}
