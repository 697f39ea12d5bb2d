//! The engine's group commit: events in and outcomes recorded, many producers' in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, Trigger};
use stackbell_model::event::Event;
use stackbell_model::health::Health;
use stackbell_model::ids::{BatchId, DeliveryId, EventId, LeaseToken, OrganizationId, WebhookId};
use stackbell_model::retry::Next;
use stackbell_model::source::Change;
use stackbell_model::webhook::Format;

use crate::StoreError;
use crate::audit::AuditEntry;

/// What one transaction takes in.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its own, so that whether it happened can be found out.
    pub id: BatchId,
    /// When it was put together: what the deadlines of its leases are counted from.
    pub now: Timestamp,
    /// Events to accept.
    pub intakes: Vec<IntakeItem>,
    /// Outcomes to record. They come after the intakes.
    pub attempts: Vec<AttemptRecord>,
}

impl Batch {
    /// One with nothing in it.
    pub const fn new(id: BatchId, now: Timestamp) -> Self {
        Self { id, now, intakes: Vec::new(), attempts: Vec::new() }
    }
}

/// Events, and a change of state, that are accepted or refused together. A refused item leaves nothing behind and does not
/// affect other items. [`crate::decision`] has the order of the checks; accepted items before it in the batch count as
/// committed.
#[derive(Clone, Debug)]
pub struct IntakeItem {
    /// Whose events.
    pub organization: OrganizationId,
    /// What [`crate::webhooks::OrganizationWebhooks::version`] they were matched against.
    pub organization_version: u64,
    /// A change that commits together with the events.
    pub change: Option<Box<ItemChange>>,
    /// The events, in the producer's order, all of this organization; at least one, unless there is a change.
    pub events: Vec<NewEvent>,
    /// What the organization may keep.
    pub quota: Quota,
}

/// A change of state that an item brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChange {
    /// The change.
    pub change: Change,
    /// The audit entry for the case that the quota is exhausted: the change is applied, and the item's events are dropped.
    pub dropped: AuditEntry,
}

/// The most that an organization may keep. An item that brings something new is refused when there would be more
/// pending than it may be, or when as much is stored as may be before it: parts of the batch before it count.
/// What is in already (duplicates) counts nothing and is answered as ever, and outcomes are always recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Pending deliveries, those that the item brings along included.
    pub pending_max: u64,
    /// [`crate::statistics::Usage::stored_bytes`]: once they are as many, nothing new is let in.
    pub stored_bytes_max: u64,
}

impl Quota {
    /// None.
    pub const UNLIMITED: Self = Self { pending_max: u64::MAX, stored_bytes_max: u64::MAX };
}

/// Which part of a [`Quota`] an item would break: the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaPart {
    /// See [`Quota::pending_max`].
    Pending,
    /// See [`Quota::stored_bytes_max`].
    StoredBytes,
}

/// An event with the deliveries that its matching gave.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// At most one for each webhook.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery to be inserted: pending, made and due when its event was accepted ([`Event::accepted_at`]).
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// How its bytes were rendered.
    pub format: Format,
    /// Its own bytes; `None` where it sends the event's payload.
    pub body: Option<Bytes>,
    /// The lease that it is born with, if its sender is ready for it.
    pub lease: Option<Lease>,
}

impl NewDelivery {
    /// The delivery that it becomes when `event` is accepted.
    pub fn to_delivery(&self, event: &Event) -> Delivery {
        Delivery {
            id: self.id,
            organization: event.organization,
            webhook: self.webhook,
            trigger: Trigger::Event { key: event.key, kind: event.kind },
            event_id: event.id,
            format: self.format,
            body: self.body.clone(),
            created_at: event.accepted_at,
            rearmed_at: None,
            attempts_spent: 0,
            state: State::Pending { due_at: event.accepted_at },
        }
    }
}

/// The right to attempt a delivery and to record what came of it.
/// It ends when another takes the delivery after `until`, when something is recorded under it,
/// when the delivery is no longer pending, and, in an embedded store, when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whoever records must show it.
    pub token: LeaseToken,
    /// From this moment on anybody else may take the delivery. Until somebody does, its holder may still record, for an
    /// hour at least: a store need not remember longer who it was.
    /// By the clock of whoever asks. A store that nodes share counts the time that is left by its own clock from when it
    /// is asked, and so never ends a lease before its holder thinks that it does.
    pub until: Timestamp,
}

/// What became of an [`IntakeItem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntakeOutcome {
    /// All its events are in, with a receipt for each in the same order. Its change is in too.
    Accepted(Vec<Receipt>),
    /// The change is in. Its new events are dropped, because the organization keeps as much as it may.
    EventsDropped(QuotaPart),
    /// Nothing of it is in: this event's id is taken by an event with another digest, or one that has none.
    Conflict {
        /// Which of the item's events.
        index: usize,
    },
    /// Nothing of it is in: the precondition of its change does not hold.
    ChangeRefused,
    /// Nothing of it is in: the organization keeps as much as it may. Only for an item without a change.
    OverQuota(QuotaPart),
    /// Nothing of it is in: the organization's webhooks have changed (or the organization is gone). Match again.
    Stale,
}

/// Proof that an event is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub id: EventId,
    /// How many deliveries it got when it was first accepted.
    pub deliveries: u32,
    /// Whether it was in already (same id, same digest), so that nothing was inserted now.
    pub duplicate: bool,
}

/// An attempt to be recorded together with what follows from it.
///
/// It ended at `attempt.started_at` plus `attempt.duration`: that is the moment of the delivery's new state and of the health.
/// Recording bumps no version.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The attempt's webhook, whose health follows [`Self::health_after`] in the same transaction.
    pub webhook: WebhookId,
    /// The webhook's revision when the request was made.
    pub revision: u64,
    /// The attempt.
    pub attempt: Attempt,
    /// Until when the endpoint asked to be left alone, if it did: see [`Health::after`].
    pub retry_until: Option<Timestamp>,
    /// Which delivery it belongs to, and what becomes of that.
    pub subject: AttemptSubject,
}

impl AttemptRecord {
    /// The webhook's health after this attempt, if it was `health` before and the webhook now has `revision`.
    ///
    /// An edit while the request was in flight may have changed the URL or the secret. The response then says nothing about the
    /// current endpoint, so health stays as it is. The health of a deleted webhook stays as it is too.
    pub fn health_after(&self, health: Health, revision: u64, is_deleted: bool) -> Health {
        let is_outdated = is_deleted || self.revision < revision;
        if is_outdated { health } else { health.after(&self.attempt, self.retry_until) }
    }
}

/// Which delivery an attempt belongs to, and what becomes of that.
#[derive(Clone, Debug)]
pub enum AttemptSubject {
    /// A leased delivery. Recorded only if the lease still holds and the delivery is still pending; ends the lease.
    /// Only [`Next::Retry`] with `spent` counts in [`Delivery::attempts_spent`]. If its webhook was deleted meanwhile, only
    /// [`Next::Succeeded`] counts: anything else cancels it, in the name of who deleted the webhook.
    ///
    /// A delivery that was cancelled while the attempt was on its way has no lease any more. The attempt is recorded, once,
    /// and a 2xx makes the delivery succeeded; anything else leaves it cancelled.
    Leased {
        /// The delivery.
        delivery: DeliveryId,
        /// The lease's token.
        token: LeaseToken,
        /// What becomes of it.
        next: Next,
    },
    /// One extra attempt that somebody asked for, whatever the state of the delivery and of its webhook.
    /// A 2xx makes it succeeded and ends any lease; anything else leaves delivery, schedule and lease untouched.
    Redelivery {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// A ping: the delivery comes into being with its one attempt, finished: succeeded or failed, with bytes of its own.
    Ping(Box<Delivery>),
}

/// What became of an [`AttemptRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It is recorded, and this is how the webhook has been doing since.
    Recorded {
        /// The webhook's health after it. The health of a deleted webhook stays as it was.
        health: Health,
        /// How the attempt ended its delivery; `None` where that goes on, or had ended before and stays so.
        ended: Option<State>,
    },
    /// It came too late: another holder, another outcome, or the delivery or its webhook are gone. Nothing was written.
    Superseded,
}

/// What became of a [`Batch`]: as many outcomes as it had parts, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// For [`Batch::intakes`].
    pub intakes: Vec<IntakeOutcome>,
    /// For [`Batch::attempts`].
    pub attempts: Vec<AttemptOutcome>,
    /// The webhooks of deliveries that were accepted with a lease, as far as they are suspended or their endpoint asked to be left
    /// alone: another node knew, and the holder of the lease may not. Empty where nodes do not share the store.
    pub held: Vec<(WebhookId, Health)>,
    /// Whether all sending is held ([`crate::instance::Instance`]): a hold that was answered before this batch was
    /// committed is seen, whichever node made it. False for a batch with nothing in it.
    pub sending_held: bool,
}

/// Committing.
#[async_trait]
pub trait Commit: Send + Sync {
    /// Commits a batch and syncs it to disk: one transaction. The caller keeps its hold of the batch, to try again.
    ///
    /// Refused items fail alone. After an `Err` other than [`StoreError::Unknown`] nothing of the batch is in;
    /// after that one all of it is in or nothing is.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError>;
}
