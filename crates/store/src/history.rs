//! Reading events, deliveries and attempts.

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::delivery::{Attempt, Delivery, Outcome};
use stackbell_model::event::Event;
use stackbell_model::ids::{EventId, EventKey, OrganizationId, WebhookId};

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
        let answered = match &self.attempt.outcome {
            Outcome::Answered(answer) => answer.headers.len() + answer.body.len(),
            Outcome::Unanswered { .. } | Outcome::OurFault { .. } | Outcome::Undeliverable { .. } => 0,
        };
        (self.delivery.payload.len() + self.attempt.request_headers.len() + answered) as u64
    }
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
