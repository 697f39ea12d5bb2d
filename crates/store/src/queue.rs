//! The queue: the deliveries table itself.
//!
//! A *lane* is the pending deliveries of one webhook. The engine knows which lanes have due deliveries, and
//! leases no more from a lane than it will soon have permits for.

use std::num::NonZeroU32;

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::Delivery;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;

use crate::StoreError;
use crate::commit::Lease;

/// The deliveries of a lane to lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneMode {
    /// Due deliveries (by `now`, inclusive), earliest first, then by id. None while the webhook is held or
    /// its endpoint requested a wait.
    Due,
    /// Pending deliveries, due or not, in the order of [`Self::Due`]. None while the webhook is held or its
    /// endpoint requested a wait.
    Pending,
    /// The first unleased delivery by due time, due or not, even if the endpoint requested a wait, because a
    /// user wants it tried. None while the webhook is held.
    Asked,
    /// The first unleased delivery by due time, due or not, even if the webhook is suspended. None while it
    /// is inactive or its endpoint requested a wait.
    Probe,
}

/// A request to lease from one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneRequest {
    /// The webhook.
    pub webhook: WebhookId,
    /// The maximum number of deliveries. [`LaneMode::Asked`] and [`LaneMode::Probe`] take one.
    pub limit: NonZeroU32,
    /// The deliveries to lease.
    pub mode: LaneMode,
}

impl LaneRequest {
    /// Returns how many deliveries of `webhook` may be leased for this request, and their latest due
    /// time.
    /// This is the rule for every store.
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

/// The part of a lane that may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The maximum number of deliveries.
    pub count_max: u32,
    /// The latest due time, inclusive; `None` for any.
    pub due_max: Option<Timestamp>,
}

/// A leased delivery, which its holder may attempt now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// The bytes to send.
    pub payload: Bytes,
}

/// The result for one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedLane {
    /// The webhook as of this transaction; `None` if it was deleted.
    pub webhook: Option<Webhook>,
    /// The leased deliveries, earliest due first.
    pub deliveries: Vec<LeasedDelivery>,
    /// When the next delivery of the lane that was not leased is due, or its lease expires; `None` if there
    /// is none. It may be in the past if the limit was reached. A hold of the webhook does not affect it.
    /// `None` if the webhook was deleted.
    pub next_due: Option<Timestamp>,
}

/// A delivery with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldDelivery {
    /// Its webhook.
    pub webhook: WebhookId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The lease.
    pub lease: Lease,
}

/// The result of a lease request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// The results for the lanes: one entry per lane, in the order of the requests.
    pub lanes: Vec<LeasedLane>,
    /// Whether all sending is on hold ([`crate::instance::Instance`]). A hold acknowledged before an event is
    /// always reported with that event's leases. False if nothing was requested.
    pub sending_held: bool,
}

/// A lane with pending deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneDue {
    /// Its organization.
    pub organization: OrganizationId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// When its first delivery is due, leased or not.
    pub next_due: Timestamp,
}

/// Leases deliveries.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Leases deliveries from each of these lanes; all leases have the token of `lease`.
    ///
    /// One transaction. Until `lease.until` no other caller gets these deliveries; then any caller may. The
    /// leases of an embedded store end with its process.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was leased.
    async fn lease_deliveries(
        &self,
        lanes: &[LaneRequest],
        now: Timestamp,
        lease: Lease,
    ) -> Result<Leased, StoreError>;

    /// Returns leases without an attempt, so that the next caller gets these deliveries. A delivery that has
    /// ended or has another lease by now stays as it is.
    ///
    /// One transaction.
    ///
    /// # Errors
    /// [`StoreError`]; the leases last until they expire.
    async fn release_deliveries(&self, held: &[HeldDelivery]) -> Result<(), StoreError>;

    /// Returns up to `limit` lanes with pending deliveries, in a stable order, after `after`. Lanes of
    /// inactive and suspended webhooks are included, those of deleted webhooks are not.
    ///
    /// The cost grows with the number of such lanes, not with the number of pending deliveries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_lanes(&self, after: Option<WebhookId>, limit: u32) -> Result<Vec<LaneDue>, StoreError>;
}
