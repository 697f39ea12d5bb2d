//! Deliveries of one webhook: list its attempts, ping it, redeliver an event.

pub mod organization;

use std::sync::Arc;

use stackbell_model::ids::EventId;
use stackbell_model::permission::Permission;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;
use stackbell_store::history::{StoredAttempt, StoredDelivery};

use crate::auth::{Access, Caller, OrganizationCaller};
use crate::page::LIST_BYTES_MAX;
use crate::webhooks::target;
use crate::{App, Code, Error};

/// The most attempts in a list, of a webhook or of one delivery. No schedule makes more for one delivery.
/// Source: wire-facts.md#webhook-delivery.
const ATTEMPTS_LISTED_MAX: u32 = 100;

/// An attempt, as the caller may see it.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// The attempt.
    pub attempt: StoredAttempt,
    /// Whether the caller may see whole URLs, and signatures.
    pub credentials: bool,
}

impl AttemptView {
    fn new(access: &Access<'_>, attempt: StoredAttempt) -> Self {
        Self { attempt, credentials: access.may(Permission::SeeCredentials) }
    }
}

impl App {
    /// The newest attempts of a webhook, newest first: at most 100, and about [`LIST_BYTES_MAX`] bytes. Empty for a webhook
    /// that does not exist, because clients expect that.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_attempts(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
    ) -> Result<Vec<AttemptView>, Error> {
        let access = caller.require(Permission::Read)?;
        let webhook = match self.find_webhook(&access, scope, name).await {
            Ok(webhook) => webhook,
            Err(error) if error.code == Code::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let attempts = self.store.list_attempts(webhook.id, ATTEMPTS_LISTED_MAX, LIST_BYTES_MAX).await?;
        Ok(attempts.into_iter().map(|attempt| AttemptView::new(&access, attempt)).collect())
    }

    /// Pings a webhook, active or not, whatever its filters. Returns the attempt, whatever its outcome.
    ///
    /// # Errors
    /// [`Code::NotFound`]; errors of access, engine and store.
    pub async fn ping(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
    ) -> Result<AttemptView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let webhook = self.find_webhook(&access, scope, name).await?;
        let id = Some(webhook.organization);
        self.audit_act(caller, id, "webhook.ping", target(&webhook)).await?;
        let attempt = self.engine.ping(Arc::new(webhook)).await?;
        Ok(AttemptView::new(&access, *attempt))
    }

    /// Makes one more attempt of an event's delivery, whatever its state. Returns the attempt.
    ///
    /// # Errors
    /// [`Code::NotFound`] for the webhook or the event; errors of access, engine and store.
    pub async fn redeliver(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
        event: &str,
    ) -> Result<AttemptView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let webhook = self.find_webhook(&access, scope, name).await?;
        let not_found = || Error::not_found("Event", event);
        let id = EventId::parse(event).ok_or_else(not_found)?;
        let delivery = self.store.find_delivery(webhook.id, id).await?.ok_or_else(not_found)?;
        self.redeliver_now(caller, &access, webhook, delivery).await
    }

    async fn redeliver_now(
        &self,
        caller: &Caller,
        access: &Access<'_>,
        webhook: Webhook,
        delivery: StoredDelivery,
    ) -> Result<AttemptView, Error> {
        let words = format!("delivery {} of {}", delivery.delivery.id, target(&webhook));
        self.audit_act(caller, Some(webhook.organization), "delivery.redeliver", words).await?;
        let attempt = self.engine.redeliver(Arc::new(webhook), delivery).await?;
        Ok(AttemptView::new(access, *attempt))
    }
}
