//! The tables, and the steps that several transactions share.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, Trigger};
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::event::Event;
use stackbell_model::identity::{Organization, Token, TokenHash, User};
use stackbell_model::ids::{
    AuditId, DeliveryId, EventId, EventKey, NodeId, OrganizationId, RecoveryId, SourceId, TokenId, UserId,
    WebhookId,
};
use stackbell_model::permission::Role;
use stackbell_model::recovery::Recovery;
use stackbell_model::secret::SealedDataKey;
use stackbell_model::source::SourceCursor;
use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::audit::{AuditEntry, AuditRecord};
use stackbell_store::commit::Lease;
use stackbell_store::history::{StoredDelivery, StoredEvent};
use stackbell_store::instance::SendingHold;
use stackbell_store::statistics::Tally;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) organizations: BTreeMap<OrganizationId, OrganizationRow>,
    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) memberships: BTreeMap<(OrganizationId, UserId), Role>,
    pub(crate) tokens: BTreeMap<TokenId, TokenRow>,
    pub(crate) webhooks: BTreeMap<WebhookId, Webhook>,
    /// Deleted webhooks, for their remaining deliveries.
    pub(crate) deleted_webhooks: BTreeMap<WebhookId, DeletedWebhook>,
    pub(crate) events: BTreeMap<EventKey, StoredEvent>,
    /// The ids of an organization's events.
    pub(crate) event_keys: BTreeMap<(OrganizationId, EventId), EventKey>,
    pub(crate) deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    /// All pending deliveries, by webhook and in due order. [`Tables::put_delivery`] and [`Tables::remove_delivery`] maintain it.
    lanes: BTreeSet<(WebhookId, Timestamp, DeliveryId)>,
    /// By webhook, start, and order of recording.
    pub(crate) attempts: BTreeMap<(WebhookId, Timestamp, u64), AttemptRow>,
    attempts_recorded: u64,
    pub(crate) recoveries: BTreeMap<RecoveryId, RecoveryRow>,
    /// By the start of the hour. Events have no webhook. All other counts belong to a webhook, and an organization's counts are
    /// sums. [`Tables::put_delivery`], [`Tables::put_attempt`] and [`Tables::put_event`] maintain it.
    pub(crate) tallies: BTreeMap<(Timestamp, OrganizationId, Option<WebhookId>), Tally>,
    pub(crate) deployments_credentials: BTreeMap<OrganizationId, DeploymentsCredential>,
    pub(crate) source_cursors: BTreeMap<(OrganizationId, SourceId), SourceCursor>,
    pub(crate) sending_hold: Option<SendingHold>,
    pub(crate) data_keys: Vec<SealedDataKey>,
    pub(crate) audit: BTreeMap<AuditId, AuditRecord>,
    /// The clock of the leases; `None` for the caller's clock.
    pub(crate) lease_clock: Option<Timestamp>,
    /// Whether several nodes share the store.
    pub(crate) is_shared: bool,
    /// The running nodes.
    pub(crate) nodes: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(crate) struct OrganizationRow {
    pub(crate) organization: Organization,
    pub(crate) version: u64,
}

#[derive(Debug)]
pub(crate) struct TokenRow {
    pub(crate) token: Token,
    pub(crate) hash: TokenHash,
}

#[derive(Debug)]
pub(crate) struct DeletedWebhook {
    pub(crate) webhook: Webhook,
    /// The actor that deleted it.
    pub(crate) by: Box<str>,
}

#[derive(Debug)]
pub(crate) struct RecoveryRow {
    pub(crate) recovery: Recovery,
    /// The creation time and the id of the last delivery that it retried.
    pub(crate) done_to: Option<(Timestamp, DeliveryId)>,
}

#[derive(Clone, Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) delivery: Delivery,
    pub(crate) lease: Option<Lease>,
}

#[derive(Debug)]
pub(crate) struct AttemptRow {
    pub(crate) delivery: DeliveryId,
    pub(crate) attempt: Attempt,
}

impl DeliveryRow {
    /// The deadline of this delivery's lease, unless it has expired at `now`.
    pub(crate) fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.lease.map(|lease| lease.until).filter(|until| *until > now)
    }
}

impl Tables {
    /// The current time for leases. `now` is the caller's time.
    pub(crate) fn lease_now(&self, now: Timestamp) -> Timestamp {
        self.lease_clock.unwrap_or(now)
    }

    /// Converts the deadline of a lease that is requested at `now` to the clock of the leases.
    pub(crate) fn lease_given(&self, lease: Lease, now: Timestamp) -> Lease {
        Lease { until: self.lease_now(now).after(lease.until.since(now)), ..lease }
    }

    /// Increments an organization's version, so that intakes which were matched before are stale.
    pub(crate) fn bump_version(&mut self, organization: OrganizationId) -> Result<(), StoreError> {
        let row = self
            .organizations
            .get_mut(&organization)
            .ok_or_else(|| missing_row("organizations", organization.to_string()))?;
        row.version += 1;
        Ok(())
    }

    pub(crate) fn write_audit(&mut self, entry: AuditEntry) {
        self.audit.insert(entry.id, entry.into());
    }

    pub(crate) fn put_event(&mut self, event: Event, deliveries: u32) {
        self.tally(event.accepted_at, event.organization, None).events += 1;
        self.event_keys.insert((event.organization, event.id), event.key);
        self.events.insert(event.key, StoredEvent { event, deliveries });
    }

    /// Inserts or replaces a delivery.
    pub(crate) fn put_delivery(&mut self, row: DeliveryRow) {
        let earlier = self.deliveries.get(&row.delivery.id).map(|row| row.delivery.state.kind());
        self.count_delivery(earlier, &row.delivery);
        self.remove_delivery(row.delivery.id);
        if let State::Pending { due_at } = row.delivery.state {
            self.lanes.insert((row.delivery.webhook, due_at, row.delivery.id));
        }
        self.deliveries.insert(row.delivery.id, row);
    }

    pub(crate) fn remove_delivery(&mut self, id: DeliveryId) {
        if let Some(row) = self.deliveries.remove(&id)
            && let State::Pending { due_at } = row.delivery.state
        {
            self.lanes.remove(&(row.delivery.webhook, due_at, id));
        }
    }

    /// All pending deliveries, by webhook and in due order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (WebhookId, Timestamp, DeliveryId)> {
        self.lanes.iter().copied()
    }

    /// The pending deliveries of one webhook, in due order.
    pub(crate) fn lane(&self, webhook: WebhookId) -> impl Iterator<Item = (Timestamp, DeliveryId)> {
        let first = (webhook, Timestamp::from_millis(i64::MIN), FIRST_DELIVERY);
        self.lanes
            .range(first..)
            .take_while(move |(of, _, _)| *of == webhook)
            .map(|(_, due_at, id)| (*due_at, *id))
    }

    pub(crate) fn put_attempt(&mut self, delivery: &Delivery, attempt: Attempt) {
        self.count_attempt(delivery, &attempt);
        self.attempts_recorded += 1;
        let place = (delivery.webhook, attempt.started_at, self.attempts_recorded);
        self.attempts.insert(place, AttemptRow { delivery: delivery.id, attempt });
    }

    /// A webhook's attempts, newest first.
    pub(crate) fn attempts_of(&self, webhook: WebhookId) -> impl Iterator<Item = &AttemptRow> {
        let first = (webhook, Timestamp::from_millis(i64::MIN), u64::MIN);
        let last = (webhook, Timestamp::from_millis(i64::MAX), u64::MAX);
        self.attempts.range(first..=last).rev().map(|(_, row)| row)
    }

    /// A delivery with its payload.
    pub(crate) fn stored_delivery(&self, delivery: &Delivery) -> StoredDelivery {
        StoredDelivery { delivery: delivery.clone(), payload: self.payload(delivery) }
    }

    /// The event of a delivery; `None` for a ping.
    pub(crate) fn event_of(&self, delivery: &Delivery) -> Option<&Event> {
        match delivery.trigger {
            Trigger::Event { key, .. } => {
                Some(&self.events.get(&key).expect("an event is kept as long as its deliveries").event)
            }
            Trigger::Ping => None,
        }
    }

    pub(crate) fn payload(&self, delivery: &Delivery) -> Bytes {
        match (&delivery.body, self.event_of(delivery)) {
            (Some(body), _) => body.clone(),
            (None, Some(event)) => event.payload.clone(),
            (None, None) => unreachable!("a ping without bytes of its own is never let in"),
        }
    }
}

/// Less than every id.
const FIRST_DELIVERY: DeliveryId = DeliveryId::from_uuid(Uuid::nil());

/// Panics like a violated foreign key: the caller named a row that never existed.
pub(crate) fn missing_row(table: &'static str, id: String) -> StoreError {
    StoreError::Corrupt { table, column: "id", id, problem: "there is no such row".to_owned() }
}

/// The first `limit` items of an iterator.
pub(crate) fn page<T>(rows: impl Iterator<Item = T>, limit: u32) -> Vec<T> {
    rows.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
}

/// The first `limit` items of an iterator, up to and including the one at which the total size reaches `bytes_max`.
pub(crate) fn page_of_bytes<T>(
    rows: impl Iterator<Item = T>,
    limit: u32,
    bytes_max: u64,
    size: impl Fn(&T) -> u64,
) -> Vec<T> {
    let (mut bytes, mut is_full) = (0, false);
    let within = rows.map_while(|row| {
        let is_room = !is_full;
        bytes += size(&row);
        is_full = bytes >= bytes_max;
        is_room.then_some(row)
    });
    page(within, limit)
}
