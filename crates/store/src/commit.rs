//! The engine's group commit: one transaction accepts the events of many producers and records the outcomes of attempts.

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

/// The contents of one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The batch's id, by which a store can find out whether the batch was committed.
    pub id: BatchId,
    /// When the batch was made. The deadlines of its leases are relative to this time.
    pub now: Timestamp,
    /// Events to accept.
    pub intakes: Vec<IntakeItem>,
    /// Outcomes to record. They come after the intakes.
    pub attempts: Vec<AttemptRecord>,
}

impl Batch {
    /// Makes an empty batch.
    pub const fn new(id: BatchId, now: Timestamp) -> Self {
        Self { id, now, intakes: Vec::new(), attempts: Vec::new() }
    }
}

/// Events, and a change of state, that are accepted or refused together. A refused item leaves nothing behind and does not
/// affect other items. [`crate::decision`] has the order of the checks; accepted items before it in the batch count as
/// committed.
#[derive(Clone, Debug)]
pub struct IntakeItem {
    /// The organization of the events.
    pub organization: OrganizationId,
    /// The [`crate::webhooks::OrganizationWebhooks::version`] against which the events were matched.
    pub organization_version: u64,
    /// A change that commits together with the events.
    pub change: Option<Box<ItemChange>>,
    /// The events, in the producer's order, all of this organization; at least one, unless there is a change.
    pub events: Vec<NewEvent>,
    /// The organization's quota.
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

/// The maximum that an organization may keep. An item with a new event is refused if it would exceed the number of pending
/// deliveries, or if the stored bytes have reached their limit before it; earlier items of the batch count. Duplicates count
/// nothing and get their usual receipts. Outcomes are always recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The maximum number of pending deliveries, including those of the item.
    pub pending_max: u64,
    /// The [`crate::statistics::Usage::stored_bytes`] from which on no new event is accepted.
    pub stored_bytes_max: u64,
}

impl Quota {
    /// No limit.
    pub const UNLIMITED: Self = Self { pending_max: u64::MAX, stored_bytes_max: u64::MAX };
}

/// The first part of a [`Quota`] that an item would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaPart {
    /// See [`Quota::pending_max`].
    Pending,
    /// See [`Quota::stored_bytes_max`].
    StoredBytes,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// At most one for each webhook.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery to insert. It is pending, and created and due when its event was accepted ([`Event::accepted_at`]).
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The id.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The format of its bytes.
    pub format: Format,
    /// Its own bytes; `None` if it sends the event's payload.
    pub body: Option<Bytes>,
    /// The lease with which it is inserted, if this node can send it at once.
    pub lease: Option<Lease>,
}

impl NewDelivery {
    /// The stored delivery of `event`.
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

/// The right to attempt a delivery and to record the outcome. A lease ends when another caller leases the delivery after `until`,
/// when an outcome is recorded under it, when the delivery is no longer pending, and, in an embedded store, when the process
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The proof that a record needs.
    pub token: LeaseToken,
    /// The deadline. From then on any other caller may lease the delivery. Until one does, the holder may still record, for at
    /// least an hour; a store may forget the lease later.
    ///
    /// The deadline uses the caller's clock. A store that nodes share measures the remaining time by its own clock, from the
    /// moment of the request, so that a lease never ends before its holder expects it.
    pub until: Timestamp,
}

/// The outcome of an [`IntakeItem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntakeOutcome {
    /// The events are stored, with a receipt for each in the same order. The change is applied.
    Accepted(Vec<Receipt>),
    /// The change is applied. The new events are dropped, because the organization's quota is exhausted.
    EventsDropped(QuotaPart),
    /// Refused: another event with the id exists, and its digest differs or is absent.
    Conflict {
        /// The index of the event in the item.
        index: usize,
    },
    /// Refused: the precondition of the change does not hold.
    ChangeRefused,
    /// Refused: the organization's quota is exhausted. Only for an item without a change.
    OverQuota(QuotaPart),
    /// Refused: the organization's webhooks have changed, or the organization does not exist any more. Match the events again.
    Stale,
}

/// Proof that an event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub id: EventId,
    /// The number of deliveries that it got when it was first accepted.
    pub deliveries: u32,
    /// Whether an event with this id and digest existed before, so that nothing was inserted.
    pub duplicate: bool,
}

/// An attempt to record, with its effects.
///
/// The attempt ended at `attempt.started_at` plus `attempt.duration`. The delivery's new state and the health have this time.
/// A record increments no version.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The attempt's webhook. Its health changes by [`Self::health_after`] in the same transaction.
    pub webhook: WebhookId,
    /// The webhook's revision when the request was made.
    pub revision: u64,
    /// The attempt.
    pub attempt: Attempt,
    /// The end of the wait that the endpoint requested, if it did: see [`Health::after`].
    pub retry_until: Option<Timestamp>,
    /// The attempt's delivery, and the effect on it.
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

/// The delivery of an attempt, and the effect on it.
#[derive(Clone, Debug)]
pub enum AttemptSubject {
    /// A leased delivery. The attempt is recorded if the lease still holds and the delivery is still pending. The record ends
    /// the lease. Only [`Next::Retry`] with `spent` counts in [`Delivery::attempts_spent`]. If the webhook was deleted
    /// meanwhile, [`Next::Succeeded`] keeps its effect. Any other step cancels the delivery, and the actor that deleted the
    /// webhook counts as the one that cancelled.
    ///
    /// A delivery that was cancelled while the attempt was in flight has no lease any more. The attempt is recorded once. A 2xx
    /// makes the delivery succeeded; any other outcome leaves it cancelled.
    Leased {
        /// The delivery.
        delivery: DeliveryId,
        /// The lease's token.
        token: LeaseToken,
        /// The effect on the delivery.
        next: Next,
    },
    /// One extra attempt that a user requested, whatever the state of the delivery and its webhook.
    /// A 2xx makes the delivery succeeded and ends any lease. Any other outcome leaves delivery, schedule and lease unchanged.
    Redelivery {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// A ping. The delivery is inserted with its only attempt. It has its own bytes, and has succeeded or failed.
    Ping(Box<Delivery>),
}

/// The outcome of an [`AttemptRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The attempt is recorded.
    Recorded {
        /// The webhook's health after the attempt. The health of a deleted webhook does not change.
        health: Health,
        /// The state in which the attempt ended its delivery; `None` if the delivery is still pending, or had ended before.
        ended: Option<State>,
    },
    /// The record came too late: another holder has the lease, another outcome was recorded, or the delivery or its webhook was
    /// removed. Nothing was written.
    Superseded,
}

/// The outcome of a [`Batch`]: one outcome for each part, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// For [`Batch::intakes`].
    pub intakes: Vec<IntakeOutcome>,
    /// For [`Batch::attempts`].
    pub attempts: Vec<AttemptOutcome>,
    /// The held webhooks among those of new leased deliveries: they are suspended, or their endpoint requested a wait. Another
    /// node recorded that, and this node may not know it. Empty if nodes do not share the store.
    pub held: Vec<(WebhookId, Health)>,
    /// Whether all sending is on hold ([`crate::instance::Instance`]). A hold of any node that returned before the commit is
    /// seen. False for an empty batch.
    pub sending_held: bool,
}

/// Commits batches.
#[async_trait]
pub trait Commit: Send + Sync {
    /// Commits a batch in one transaction and syncs it to disk. The caller keeps the batch, so that it can retry.
    ///
    /// A refused item does not affect the others. After [`StoreError::Unknown`] either the whole batch is committed or nothing;
    /// after any other error nothing is.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError>;
}
