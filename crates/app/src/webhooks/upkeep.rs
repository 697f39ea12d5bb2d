//! What our own API adds to webhooks: all of an organization at a glance, Standard Webhooks, suspension.

use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_model::webhook::Webhook;
use stackbell_store::webhooks::EditOutcome;

use super::{TRIES_MAX, WebhookView, edit_permission, edited_by_others, target, view};
use crate::auth::{Access, Caller};
use crate::page::{Page, one_more};
use crate::{App, Error};

/// The most webhooks on a page of those of an organization.
pub const WEBHOOKS_LISTED_MAX: usize = 100;

impl App {
    /// The webhooks of an organization, of all scopes, oldest first; `limit` at the most, beyond `after`.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn list_all_webhooks(
        &self,
        caller: &Caller,
        organization: &str,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Page<WebhookView, WebhookId>, Error> {
        let access = caller.in_organization(organization)?;
        access.require(Permission::Read)?;
        let limit = limit.clamp(1, WEBHOOKS_LISTED_MAX);
        let webhooks = self.store.list_all_webhooks(access.organization.id, after, one_more(limit)).await?;
        Ok(Page::cut(webhooks, limit, |webhook| webhook.id).map(|webhook| view(&access, webhook)))
    }

    /// Sets whether a webhook's signed deliveries also carry the headers of Standard Webhooks; `None` leaves it.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; those of access and store.
    pub async fn set_standard_headers(
        &self,
        caller: &Caller,
        organization: &str,
        id: &str,
        standard_headers: Option<bool>,
    ) -> Result<WebhookView, Error> {
        let caller = &self.renew(caller).await?;
        let access = caller.in_organization(organization)?;
        access.require(Permission::Read)?;
        for _ in 0..TRIES_MAX {
            let before = self.webhook_by_id(&access, id).await?;
            access.require(edit_permission(&before.scope))?;
            let standard_headers = standard_headers.unwrap_or(before.standard_headers);
            let after = Webhook { standard_headers, ..before.clone() };
            match self.replace(caller, &before, &after).await? {
                EditOutcome::Done => return Ok(view(&access, after)),
                EditOutcome::Missing => return Err(Error::not_found("Webhook", id)),
                EditOutcome::Outdated => {}
            }
        }
        Err(edited_by_others())
    }

    /// Ends a webhook's suspension; one that is not suspended stays as it is.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; those of access and store.
    pub async fn resume_webhook(
        &self,
        caller: &Caller,
        organization: &str,
        id: &str,
    ) -> Result<WebhookView, Error> {
        let caller = &self.renew(caller).await?;
        let access = caller.in_organization(organization)?;
        access.require(Permission::Redeliver)?;
        let webhook = self.webhook_by_id(&access, id).await?;
        if webhook.health.suspension.is_none() {
            return Ok(view(&access, webhook));
        }
        let now = self.now();
        let organization = webhook.organization;
        let audit = self.audit(caller, Some(organization), "webhook.resume", target(&webhook), Vec::new());
        if !self.store.resume_webhook(webhook.id, now, audit).await? {
            return Err(Error::not_found("Webhook", id));
        }
        self.engine.webhook_changed(organization, webhook.id).await;
        let health = webhook.health.resumed(now);
        Ok(view(&access, Webhook { health, ..webhook }))
    }

    async fn webhook_by_id(&self, access: &Access<'_>, id: &str) -> Result<Webhook, Error> {
        let not_found = || Error::not_found("Webhook", id);
        let parsed = WebhookId::parse(id).ok_or_else(not_found)?;
        let found = self.store.webhook(access.organization.id, parsed).await?;
        found.ok_or_else(not_found)
    }
}
