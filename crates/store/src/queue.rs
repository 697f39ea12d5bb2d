//! The queue: the deliveries table itself.
//!
//! A *lane* is what is pending for one webhook. The engine knows which lanes have something due,
//! and leases from a lane no more than it will soon have permits for.

use std::num::NonZeroU32;

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::Delivery;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;

use crate::StoreError;
use crate::commit::Lease;

/// Which deliveries of a lane are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneMode {
    /// Those that are due (by `now`, inclusive), earliest first, then by id. Nothing while the webhook is held or its endpoint
    /// asked to be left alone.
    Due,
    /// Those that are pending, due or not, in the same order. Nothing while the webhook is held or its endpoint asked to be left
    /// alone.
    Pending,
    /// The unleased one that is due first, due or not, although the endpoint asked to be left alone: a person wants it tried.
    /// Nothing while the webhook is held.
    Asked,
    /// The unleased one that is due first, be it only later, and although the webhook is suspended. Nothing while it is inactive
    /// or its endpoint asked to be left alone.
    Probe,
}

/// What is wanted of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneRequest {
    /// The webhook.
    pub webhook: WebhookId,
    /// How many at the most. [`LaneMode::Asked`] and [`LaneMode::Probe`] take one.
    pub limit: NonZeroU32,
    /// Which.
    pub mode: LaneMode,
}

impl LaneRequest {
    /// How many deliveries of `webhook`, as it stands, may be leased for this request, and by when they have to be due:
    /// the rule for every store.
    pub fn wanted(&self, webhook: &Webhook, now: Timestamp) -> Wanted {
        let is_held = match self.mode {
            LaneMode::Due | LaneMode::Pending | LaneMode::Asked => webhook.is_held(),
            LaneMode::Probe => !webhook.active,
        };
        let count = match self.mode {
            LaneMode::Due | LaneMode::Pending => self.limit.get(),
            LaneMode::Asked | LaneMode::Probe => 1,
        };
        let due_max = match self.mode {
            LaneMode::Due => Some(now),
            LaneMode::Pending | LaneMode::Asked | LaneMode::Probe => None,
        };
        let waits = self.mode != LaneMode::Asked && webhook.health.waits_until(now).is_some();
        let may_go = !is_held && !waits;
        Wanted { count_max: if may_go { count } else { 0 }, due_max }
    }
}

/// How much of a lane may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many at the most.
    pub count_max: u32,
    /// By when they have to be due, inclusive; `None` for whenever.
    pub due_max: Option<Timestamp>,
}

/// A delivery that its holder may attempt now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// The bytes to send.
    pub payload: Bytes,
}

/// What a lane gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedLane {
    /// The webhook as it stands in this transaction; `None` when it was deleted.
    pub webhook: Option<Webhook>,
    /// What was leased, earliest due first.
    pub deliveries: Vec<LeasedDelivery>,
    /// When the next of the lane is due (or its lease runs out) that was not leased now; `None` when there is none.
    /// May be past, when the limit was reached. Takes no notice of the webhook being held; `None` when it was deleted.
    pub next_due: Option<Timestamp>,
}

/// A delivery that somebody has leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldDelivery {
    /// Its webhook.
    pub webhook: WebhookId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The lease.
    pub lease: Lease,
}

/// What was leased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// What the lanes gave: one entry a lane, in the order in which they were asked for.
    pub lanes: Vec<LeasedLane>,
    /// Whether all sending is held ([`crate::instance::Instance`]): of an event that was answered after a hold was,
    /// nothing is leased without a word of that hold. False where nothing was asked for.
    pub sending_held: bool,
}

/// A lane with something pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneDue {
    /// Its organization.
    pub organization: OrganizationId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// When the first of it is due, leased or not.
    pub next_due: Timestamp,
}

/// Leasing.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Leases from each of these lanes; all leases carry `lease`.
    ///
    /// One transaction. Until `lease.until` nobody else gets these deliveries; from then on anybody may.
    /// An embedded store's leases end with its process.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was leased.
    async fn lease_deliveries(
        &self,
        lanes: &[LaneRequest],
        now: Timestamp,
        lease: Lease,
    ) -> Result<Leased, StoreError>;

    /// Gives leases back: whoever asks next gets these deliveries. Nothing was sent of them under these leases.
    /// One that has ended since, or has another lease by now, is left as it is.
    ///
    /// One transaction.
    ///
    /// # Errors
    /// [`StoreError`]; the leases last until their deadlines.
    async fn release_deliveries(&self, held: &[HeldDelivery]) -> Result<(), StoreError>;

    /// Up to `limit` lanes that have something pending, in an order that stays, beyond `after`.
    /// Lanes of inactive and suspended webhooks are among them, those of deleted webhooks are not.
    ///
    /// The cost grows with the number of lanes that have something pending, not with what is pending.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_lanes(&self, after: Option<WebhookId>, limit: u32) -> Result<Vec<LaneDue>, StoreError>;
}
