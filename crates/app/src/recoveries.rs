//! Recoveries: new attempts for all failed and cancelled deliveries of a webhook.

use stackbell_engine::core::SendNow;
use stackbell_model::Timestamp;
use stackbell_model::ids::RecoveryId;
use stackbell_model::permission::Permission;
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_store::recoveries::RecoveryCreated;

use crate::auth::OrganizationCaller;
use crate::page::{Page, one_more};
use crate::webhooks::target;
use crate::{App, Code, Error};

/// The most recoveries on a page.
pub const RECOVERIES_LISTED_MAX: usize = 100;

impl App {
    /// Starts a recovery: the failed and cancelled deliveries of a webhook that were made at `since` or later start again. The
    /// engine works in steps and continues after a crash. Pending deliveries of the webhook are sent now, due or not: if the
    /// endpoint has failed, one of them first, and the others once it succeeds.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::Invalid`] for a moment in the future; [`Code::Conflict`] while another recovery of the
    /// webhook runs; errors of access and store.
    pub async fn create_recovery(
        &self,
        caller: &OrganizationCaller,
        webhook: &str,
        since: Timestamp,
    ) -> Result<Recovery, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let found = self.webhook_by_id(&access, webhook).await?;
        let total = self.store.count_recoverable(found.id, since).await?;
        let organization = Some(found.organization);
        let audit = self.audit(caller, organization, "webhook.recover", target(&found), Vec::new());
        if since > audit.at {
            return Err(Error::invalid_field("since", "must not be in the future"));
        }
        let recovery = Recovery {
            id: self.chance(|entropy| RecoveryId::generate(audit.at, entropy)),
            organization: found.organization,
            webhook: found.id,
            since,
            created_at: audit.at,
            created_by: audit.actor.clone(),
            total,
            rearmed: 0,
            state: RecoveryState::Running,
        };
        match self.store.create_recovery(&recovery, audit).await? {
            RecoveryCreated::Done => {
                self.engine.recovery_created();
                let (organization, webhook) = (recovery.organization, recovery.webhook);
                self.engine.send_now(organization, webhook, SendNow::Everything).await;
                Ok(recovery)
            }
            RecoveryCreated::WebhookMissing => Err(Error::not_found("Webhook", webhook)),
            RecoveryCreated::Running { id } => {
                let message = format!("the webhook has a recovery that is running: {id}");
                Err(Error::new(Code::Conflict, message))
            }
        }
    }

    /// An organization's recoveries, newest first: at most `limit`, older than `before`.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_recoveries(
        &self,
        caller: &OrganizationCaller,
        before: Option<RecoveryId>,
        limit: usize,
    ) -> Result<Page<Recovery, RecoveryId>, Error> {
        let access = caller.require(Permission::Read)?;
        let limit = limit.clamp(1, RECOVERIES_LISTED_MAX);
        let recoveries = self.store.list_recoveries(access.organization.id, before, one_more(limit)).await?;
        Ok(Page::cut(recoveries, limit, |recovery| recovery.id))
    }

    /// One recovery.
    ///
    /// # Errors
    /// [`Code::NotFound`]; errors of access and store.
    pub async fn get_recovery(&self, caller: &OrganizationCaller, recovery: &str) -> Result<Recovery, Error> {
        let access = caller.require(Permission::Read)?;
        let not_found = || Error::not_found("Recovery", recovery);
        let id = RecoveryId::parse(recovery).ok_or_else(not_found)?;
        self.store.recovery(access.organization.id, id).await?.ok_or_else(not_found)
    }
}
