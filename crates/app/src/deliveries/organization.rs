//! Deliveries of an organization, for our own API: list, get, cancel, retry, redeliver.

use bytes::Bytes;
use stackbell_engine::core::SendNow;
use stackbell_model::delivery::{Attempt, StateKind, Trigger};
use stackbell_model::ids::DeliveryId;
use stackbell_model::permission::Permission;
use stackbell_store::audit::AuditEntry;
use stackbell_store::history::attempt_size;
use stackbell_store::recoveries::DeliveryChange;

use super::{ATTEMPTS_LISTED_MAX, AttemptView};
use crate::auth::{Access, OrganizationCaller};
use crate::page::{LIST_BYTES_MAX, Page};
use crate::waiting::Waiting;
use crate::{App, Code, Error};

pub use stackbell_store::history::{DeliveryFilter, DeliveryOverview, KindFilter, LastAttempt};

/// The most deliveries on a page.
pub const DELIVERIES_LISTED_MAX: usize = 100;

/// The most rows that are read for one page. A filter that matches nothing among millions must not read them all.
const ROWS_READ_MAX: u32 = 10_000;

/// A delivery with its payload and attempts, as the caller may see it.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// The delivery.
    pub overview: DeliveryOverview,
    /// The reason why it is not sent now; `None` if it has ended or can be sent now.
    pub waiting: Option<Waiting>,
    /// The bytes that it sends.
    pub payload: Bytes,
    /// Its newest attempts, newest first: at most 100, and about [`LIST_BYTES_MAX`] bytes.
    pub history: Vec<Attempt>,
    /// Whether the caller may see whole URLs, and signatures.
    pub credentials: bool,
}

impl DeliveryView {
    /// The approximate size in bytes: the payload and the attempts.
    pub fn size(&self) -> u64 {
        self.payload.len() as u64 + self.history.iter().map(attempt_size).sum::<u64>()
    }
}

/// A change of a delivery's state.
#[derive(Clone, Copy)]
enum Change {
    Cancel,
    Retry,
}

impl App {
    /// An organization's deliveries, newest first: at most `limit`, older than `before`. One request reads about 10,000 rows
    /// at most, so a page may be short or empty although there is a next one.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_deliveries(
        &self,
        caller: &OrganizationCaller,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Page<DeliveryOverview, DeliveryId>, Error> {
        let access = caller.require(Permission::Read)?;
        let limit = u32::try_from(limit.clamp(1, DELIVERIES_LISTED_MAX)).expect("clamped");
        let id = access.organization.id;
        let page = self.store.list_deliveries(id, filter, before, limit, ROWS_READ_MAX).await?;
        Ok(Page { items: page.deliveries, next: page.next })
    }

    /// One delivery.
    ///
    /// # Errors
    /// [`Code::NotFound`]; errors of access and store.
    pub async fn get_delivery(
        &self,
        caller: &OrganizationCaller,
        delivery: &str,
    ) -> Result<DeliveryView, Error> {
        let access = caller.require(Permission::Read)?;
        let (overview, payload) = self.find_delivery(&access, delivery).await?;
        let id = access.organization.id;
        let history =
            self.store.delivery_attempts(id, overview.id, ATTEMPTS_LISTED_MAX, LIST_BYTES_MAX).await?;
        let credentials = access.may(Permission::SeeCredentials);
        let waiting = self.waiting(&access, &overview).await?;
        Ok(DeliveryView { overview, waiting, payload, history, credentials })
    }

    /// Cancels a pending delivery.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::Conflict`] if it is not pending; errors of access and store.
    pub async fn cancel_delivery(
        &self,
        caller: &OrganizationCaller,
        delivery: &str,
    ) -> Result<DeliveryOverview, Error> {
        self.change_delivery(caller, delivery, Change::Cancel).await
    }

    /// Makes a delivery due now, before all others of its webhook and even if the circuit breaker is open. A pending delivery
    /// continues its schedule; a failed or cancelled one starts again. Limits, rates and holds still apply.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::Conflict`] if it has succeeded or its webhook was deleted; errors of access and store.
    pub async fn retry_delivery(
        &self,
        caller: &OrganizationCaller,
        delivery: &str,
    ) -> Result<DeliveryOverview, Error> {
        self.change_delivery(caller, delivery, Change::Retry).await
    }

    /// Makes one more attempt of a delivery, whatever its state. Returns the attempt.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::Conflict`] if its webhook was deleted; errors of access, engine and store.
    pub async fn redeliver_delivery(
        &self,
        caller: &OrganizationCaller,
        delivery: &str,
    ) -> Result<AttemptView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let (overview, _) = self.find_delivery(&access, delivery).await?;
        refuse_ping(&overview)?;
        let webhook = self.store.webhook(access.organization.id, overview.webhook).await?;
        let webhook = webhook.ok_or_else(webhook_deleted)?;
        let stored = self.store.find_delivery(overview.webhook, overview.event_id).await?;
        let stored = stored.ok_or_else(|| not_found(delivery))?;
        self.redeliver_now(caller, &access, webhook, stored).await
    }

    async fn change_delivery(
        &self,
        caller: &OrganizationCaller,
        delivery: &str,
        change: Change,
    ) -> Result<DeliveryOverview, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let (overview, _) = self.find_delivery(&access, delivery).await?;
        refuse_ping(&overview)?;
        let (organization, id) = (access.organization.id, overview.id);
        let target = format!("delivery {id} of webhook {}", overview.webhook_name);
        let audit = |action| -> AuditEntry {
            self.audit(caller, Some(organization), action, target.as_str(), Vec::new())
        };
        let changed = match change {
            Change::Cancel => self.store.cancel_delivery(organization, id, audit("delivery.cancel")).await?,
            Change::Retry => self.store.retry_delivery(organization, id, audit("delivery.retry")).await?,
        };
        match changed {
            DeliveryChange::Done { webhook } => match change {
                Change::Cancel => self.engine.lane_changed(organization, webhook).await,
                Change::Retry => self.engine.send_now(organization, webhook, SendNow::One).await,
            },
            DeliveryChange::Missing => return Err(not_found(delivery)),
            DeliveryChange::State(state) => return Err(wrong_state(change, state)),
            DeliveryChange::WebhookDeleted => return Err(webhook_deleted()),
        }
        Ok(self.find_delivery(&access, delivery).await?.0)
    }

    async fn find_delivery(
        &self,
        access: &Access<'_>,
        delivery: &str,
    ) -> Result<(DeliveryOverview, Bytes), Error> {
        let not_found = || not_found(delivery);
        let id = DeliveryId::parse(delivery).ok_or_else(not_found)?;
        self.store.delivery(access.organization.id, id).await?.ok_or_else(not_found)
    }
}

fn not_found(delivery: &str) -> Error {
    Error::not_found("Delivery", delivery)
}

fn webhook_deleted() -> Error {
    Error::new(Code::Conflict, "the delivery's webhook was deleted, so there is nowhere to send it")
}

fn refuse_ping(overview: &DeliveryOverview) -> Result<(), Error> {
    match overview.trigger {
        Trigger::Event { .. } => Ok(()),
        Trigger::Ping => {
            Err(Error::new(Code::Conflict, "a ping has only one attempt: ping the webhook again"))
        }
    }
}

fn wrong_state(change: Change, state: StateKind) -> Error {
    let rule = match change {
        Change::Cancel => "only a pending one can be cancelled",
        Change::Retry => "only one that has not succeeded can be retried; redeliver sends it once more",
    };
    Error::new(Code::Conflict, format!("the delivery is {}: {rule}", state.as_str()))
}
