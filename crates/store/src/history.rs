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

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// The number of its deliveries, including those already removed.
    pub deliveries: u32,
}

impl StoredEvent {
    /// The size of its unbounded fields, by which lists are limited.
    pub fn size(&self) -> u64 {
        self.event.payload.len() as u64
    }
}

/// A delivery with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// The delivery's own bytes, or its event's.
    pub payload: Bytes,
}

/// An attempt with its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttempt {
    /// The delivery in its current state, with the bytes that were sent.
    pub delivery: StoredDelivery,
    /// The attempt.
    pub attempt: Attempt,
}

impl StoredAttempt {
    /// The size of the unbounded fields of delivery and attempt, by which lists are limited.
    pub fn size(&self) -> u64 {
        self.delivery.payload.len() as u64 + attempt_size(&self.attempt)
    }
}

/// The size of an attempt's unbounded fields: headers and response.
pub fn attempt_size(attempt: &Attempt) -> u64 {
    let answered = attempt.outcome.response().map_or(0, |answer| answer.headers.len() + answer.body.len());
    (attempt.request_headers.len() + answered) as u64
}

/// A filter for deliveries. All conditions that are set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The webhook, which may be deleted.
    pub webhook: Option<WebhookId>,
    /// The stack or environment of the event.
    pub subject: Option<Subject>,
    /// The kind.
    pub kind: Option<KindFilter>,
    /// The current state.
    pub state: Option<StateKind>,
    /// Only deliveries created at this time or later.
    pub from: Option<Timestamp>,
    /// Only deliveries created before this time.
    pub to: Option<Timestamp>,
}

/// A delivery's kind on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindFilter {
    /// The kind of an event.
    Event(EventKind),
    /// A ping.
    Ping,
}

/// A delivery without its payload, with data that users want to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOverview {
    /// See [`Delivery::id`].
    pub id: DeliveryId,
    /// See [`Delivery::webhook`].
    pub webhook: WebhookId,
    /// The scope of its webhook, which may be deleted.
    pub webhook_scope: Scope,
    /// The name of its webhook, which may be deleted.
    pub webhook_name: WebhookName,
    /// Whether its webhook was deleted.
    pub is_webhook_deleted: bool,
    /// See [`Delivery::trigger`].
    pub trigger: Trigger,
    /// See [`Delivery::event_id`].
    pub event_id: EventId,
    /// The subject of its event; `None` for a ping.
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
    /// The number of attempts, of every trigger.
    pub attempts: u32,
    /// The last attempt, by its start and then by the order of recording; without the response's text.
    pub last_attempt: Option<LastAttempt>,
}

/// A summary of a delivery's last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// When it started.
    pub started_at: Timestamp,
    /// Its duration.
    pub duration: std::time::Duration,
    /// The status code; 0 without a response.
    pub status: u16,
    /// See [`Outcome::reason`](stackbell_model::delivery::Outcome::reason).
    pub reason: Option<Box<str>>,
}

/// A page of a list of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<DeliveryOverview>,
    /// The delivery after which the next page begins; `None` at the end of the list. A page may be short or
    /// empty before the end, because each call reads a limited number of rows.
    pub next: Option<DeliveryId>,
}

/// Reads events, deliveries and attempts.
#[async_trait]
pub trait History: Send + Sync {
    /// Returns an organization's event with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_event(
        &self,
        organization: OrganizationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError>;

    /// Returns up to `limit` events of an organization, newest first, older than `before`. The list ends
    /// after the event at which the total [size](StoredEvent::size) reaches `bytes_max`. No more than these
    /// events are held in memory.
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

    /// Returns a webhook's delivery (or ping) with this id on the wire. For a deleted webhook, only while the
    /// delivery is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_delivery(
        &self,
        webhook: WebhookId,
        event: EventId,
    ) -> Result<Option<StoredDelivery>, StoreError>;

    /// Returns up to `limit` deliveries of an organization that match `filter`, newest first (by id), older
    /// than `before`. Deliveries of deleted webhooks are included while they are kept. Reads about
    /// `looked_at_max` rows at most.
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

    /// Returns an organization's delivery with this id, and its payload.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delivery(
        &self,
        organization: OrganizationId,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryOverview, Bytes)>, StoreError>;

    /// Returns the newest `limit` attempts of a delivery, in the order of [`Self::list_attempts`]. The list
    /// ends after the attempt at which the total [size](attempt_size) reaches `bytes_max`. Empty if there is
    /// no such delivery.
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

    /// Returns the newest `limit` attempts of a webhook, newest first: by their start, then by the order of
    /// recording. The list ends after the attempt at which the total [size](StoredAttempt::size) reaches
    /// `bytes_max`. No more than these attempts are held in memory.
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
