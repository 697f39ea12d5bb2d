//! Reading events, deliveries and attempts.

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Trigger};
use stackbell_model::event::Event;
use stackbell_model::filter::EventKind;
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use stackbell_model::names::WebhookName;
use stackbell_model::scope::{Scope, Subject};
use stackbell_model::webhook::Format;

use crate::StoreError;

/// An event as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// How many deliveries it got, those that are gone by now included.
    pub deliveries: u32,
}

impl StoredEvent {
    /// The bytes of what has no small limit: what a list of these is cut by.
    pub fn size(&self) -> u64 {
        self.event.payload.len() as u64
    }
}

/// A delivery with the bytes that it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// Its own bytes or its event's.
    pub payload: Bytes,
}

/// An attempt with what it was an attempt of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttempt {
    /// The delivery, as it stands now, and the bytes that were sent.
    pub delivery: StoredDelivery,
    /// The attempt.
    pub attempt: Attempt,
}

impl StoredAttempt {
    /// The bytes of what has no small limit, on both sides of the attempt: what a list of these is cut by.
    pub fn size(&self) -> u64 {
        self.delivery.payload.len() as u64 + attempt_size(&self.attempt)
    }
}

/// The bytes of what an attempt has that has no small limit: headers and answer.
pub fn attempt_size(attempt: &Attempt) -> u64 {
    let answered = attempt.outcome.answer().map_or(0, |answer| answer.headers.len() + answer.body.len());
    (attempt.request_headers.len() + answered) as u64
}

/// Which deliveries are wanted: those that are all of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this webhook, which may be deleted.
    pub webhook: Option<WebhookId>,
    /// Of an event about this stack or environment.
    pub subject: Option<Subject>,
    /// Of this kind.
    pub kind: Option<KindFilter>,
    /// In this state now.
    pub state: Option<StateKind>,
    /// Made at this moment or later.
    pub from: Option<Timestamp>,
    /// Made before this moment.
    pub to: Option<Timestamp>,
}

/// What kind a delivery has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindFilter {
    /// That of an event.
    Event(EventKind),
    /// A ping.
    Ping,
}

/// A delivery without its bytes, with what people want to know beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOverview {
    /// See [`Delivery::id`].
    pub id: DeliveryId,
    /// See [`Delivery::webhook`].
    pub webhook: WebhookId,
    /// Where its webhook is or was registered.
    pub webhook_scope: Scope,
    /// What its webhook is or was named.
    pub webhook_name: WebhookName,
    /// Whether its webhook was deleted.
    pub is_webhook_deleted: bool,
    /// See [`Delivery::trigger`].
    pub trigger: Trigger,
    /// See [`Delivery::event_id`].
    pub event_id: EventId,
    /// What its event is about; `None` for a ping.
    pub subject: Option<Subject>,
    /// See [`Delivery::format`].
    pub format: Format,
    /// See [`Delivery::created_at`].
    pub created_at: Timestamp,
    /// See [`Delivery::rearmed_at`].
    pub rearmed_at: Option<Timestamp>,
    /// See [`Delivery::attempts_spent`].
    pub attempts_spent: u32,
    /// See [`Delivery::state`].
    pub state: State,
    /// How many attempts there are, of every trigger.
    pub attempts: u32,
    /// The last of them, by when it began, then as it was recorded; without the text of what the endpoint answered.
    pub last_attempt: Option<LastAttempt>,
}

/// A delivery's last attempt in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: std::time::Duration,
    /// The status code; 0 without an answer.
    pub status: u16,
    /// See [`Outcome::reason`](stackbell_model::delivery::Outcome::reason).
    pub reason: Option<Box<str>>,
}

/// A part of a list of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<DeliveryOverview>,
    /// Beyond which delivery to go on; `None` when there are no more. A page may be short, or empty, and there be more:
    /// no call looks at more than so many rows.
    pub next: Option<DeliveryId>,
}

/// Reading what happened.
#[async_trait]
pub trait History: Send + Sync {
    /// The event that an organization knows by this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError>;

    /// Up to `limit` events of an organization, newest first, older than `before`; none behind the one at which their
    /// [sizes](StoredEvent::size) together reach `bytes_max`. No more than these are held in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_events(
        &self,
        organization: OrganizationId,
        before: Option<EventKey>,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// The delivery (or ping) of a webhook that goes by this id on the wire; that of a deleted webhook as long as it is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_delivery(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> Result<Option<StoredDelivery>, StoreError>;

    /// Up to `limit` deliveries of an organization, newest first (by id), older than `before`, that pass `filter`.
    /// Those of deleted webhooks are among them as long as they are kept. Looks at about `looked_at_max` rows at the most.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_deliveries(
        &self,
        organization: OrganizationId,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: u32,
        looked_at_max: u32,
    ) -> Result<DeliveryPage, StoreError>;

    /// The delivery of this organization with this id, and the bytes that it sends.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delivery(
        &self,
        organization: OrganizationId,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryOverview, Bytes)>, StoreError>;

    /// The newest `limit` attempts of a delivery, newest first as [`Self::list_attempts`] has them; none behind the one
    /// at which their [sizes](attempt_size) together reach `bytes_max`. None when there is no such delivery.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delivery_attempts(
        &self,
        organization: OrganizationId,
        delivery: DeliveryId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// The newest `limit` attempts of a webhook, newest first: by when they started, then as they were recorded; none
    /// behind the one at which their [sizes](StoredAttempt::size) together reach `bytes_max`. No more than these are held
    /// in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_attempts(
        &self,
        webhook: WebhookId,
        limit: u32,
        bytes_max: u64,
    ) -> Result<Vec<StoredAttempt>, StoreError>;
}
