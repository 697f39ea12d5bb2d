//! Deliveries: list a webhook's attempts, ping, redeliver.

pub mod organization;

use std::sync::Arc;

use stackbell_model::ids::{DeliveryId, EventId};
use stackbell_model::permission::Permission;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;
use stackbell_store::history::StoredAttempt;

use crate::auth::{Caller, OrganizationCaller};
use crate::webhooks::target;
use crate::{App, Code, Error};

/// The most attempts in a list, be it of a webhook or of one delivery. No schedule makes more for one delivery.
/// Source: wire-facts.md#webhook-delivery.
const ATTEMPTS_LISTED_MAX: u32 = 100;

/// A list ends with the row at which its payloads and responses reach so many bytes. A hundred of the largest would take 30
/// MiB for each reader.
pub const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An attempt, as the caller may see it.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// The attempt.
    pub attempt: StoredAttempt,
    /// Whether the caller may see the URL whole, and signatures.
    pub credentials: bool,
}

impl App {
    /// The newest attempts of a webhook, newest first, up to a number and [`LIST_BYTES_MAX`]; none for a webhook that is not there, as clients expect.
    ///
    /// # Errors
    /// Those of access and store.
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
        let credentials = access.may(Permission::SeeCredentials);
        Ok(attempts.into_iter().map(|attempt| AttemptView { attempt, credentials }).collect())
    }

    /// Pings a webhook, active or not, whatever its filters, and gives the record, whatever the endpoint answered.
    ///
    /// # Errors
    /// [`Code::NotFound`]; those of access, engine and store.
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
        Ok(AttemptView { attempt: *attempt, credentials: access.may(Permission::SeeCredentials) })
    }

    /// Makes one more attempt of a delivery, whatever its state, and gives the record.
    ///
    /// # Errors
    /// [`Code::NotFound`] for the webhook or the event; those of access, engine and store.
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
        self.audit_redelivery(caller, &webhook, delivery.delivery.id).await?;
        let attempt = self.engine.redeliver(Arc::new(webhook), delivery).await?;
        Ok(AttemptView { attempt: *attempt, credentials: access.may(Permission::SeeCredentials) })
    }

    async fn audit_redelivery(
        &self,
        caller: &Caller,
        webhook: &Webhook,
        delivery: DeliveryId,
    ) -> Result<(), Error> {
        let words = format!("delivery {delivery} of {}", target(webhook));
        self.audit_act(caller, Some(webhook.organization), "delivery.redeliver", words).await
    }
}
