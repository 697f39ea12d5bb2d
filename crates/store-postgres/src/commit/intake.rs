//! Intake of events.

use std::collections::HashMap;
use std::convert::Infallible;

use futures_util::future::{try_join, try_join3};
use stackbell_model::Timestamp;
use stackbell_model::event::Event;
use stackbell_model::filter::Filter;
use stackbell_model::ids::{EventId, OrganizationId, SourceId};
use stackbell_model::source::SourceCursor;
use stackbell_store::commit::{Batch, IntakeItem, IntakeOutcome, NewDelivery, NewEvent};
use stackbell_store::decision::intake::{Decision, Earlier, Lookups, count, decide};
use stackbell_store::rows::event::subject_columns;
use stackbell_store::rows::{Id as _, join};
use stackbell_store::statistics::Usage;
use uuid::Uuid;

use super::changes::Changes;
use super::length;
use super::lookups::{BatchLookups, OrganizationRow};
use crate::error::{Fault, is_taken};
use crate::ledger::{Account, Ledger};
use crate::session::Transaction;
use crate::statement::statement;
use crate::{LeaseClock, lease_lasts};

statement!(INSERT_IDS = "/* commit.event_ids */ INSERT INTO event_ids (organization_number, id, key, digest, deliveries) \
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bigint[]) \
        AS new (organization_number, id, key, digest, deliveries) ORDER BY organization_number, id";
    INT8_ARRAY, UUID_ARRAY, UUID_ARRAY, BYTEA_ARRAY, INT8_ARRAY);

statement!(INSERT_EVENTS = "/* commit.insert_events */ INSERT INTO events (key, organization_number, id, kind, filters, \
    subject_kind, subject_project, subject_name, digest, accepted_at, source, token, deliveries, payload) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], \
        $8::text[], $9::bytea[], $10::bigint[], $11::text[], $12::uuid[], $13::bigint[], $14::bytea[])";
    UUID_ARRAY, INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BYTEA_ARRAY,
    INT8_ARRAY, TEXT_ARRAY, UUID_ARRAY, INT8_ARRAY, BYTEA_ARRAY);

statement!(INSERT_DELIVERIES = "/* commit.insert_deliveries */ INSERT INTO deliveries_pending (id, organization_number, \
    webhook_number, event_key, format, created_at, attempts_spent, state, due_at, lease_token, lease_until, body) \
    SELECT id, organization_number, webhook_number, event_key, format, created_at, 0, 'pending', created_at, \
        lease_token, clock.now + lease_lasts, body \
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::uuid[], \
        $8::bigint[], $9::bytea[]) AS new (id, organization_number, webhook_number, event_key, format, created_at, \
        lease_token, lease_lasts, body), \
        (SELECT coalesce($10::bigint, now_ms()) AS now) AS clock";
    UUID_ARRAY, INT8_ARRAY, INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY, INT8_ARRAY, UUID_ARRAY, INT8_ARRAY, BYTEA_ARRAY,
    INT8);

/// An accepted event.
struct Accepted<'batch> {
    organization_number: i64,
    new: &'batch NewEvent,
}

/// The outcomes of a batch's items, and the rows to insert.
pub(super) struct Intake<'batch> {
    outcomes: Vec<IntakeOutcome>,
    accepted: Vec<Accepted<'batch>>,
    /// The numbers of the webhooks of all deliveries to insert, in order.
    webhook_numbers: Vec<i64>,
    changes: Changes<'batch>,
}

impl<'batch> Intake<'batch> {
    /// Decides about each item. Accepted items of the batch count as committed for later ones.
    pub(super) fn decide(batch: &'batch Batch, lookups: &BatchLookups, ledger: &mut Ledger) -> Self {
        let mut intake = Self {
            outcomes: Vec::new(),
            accepted: Vec::new(),
            webhook_numbers: Vec::new(),
            changes: Changes::default(),
        };
        let mut in_batch = HashMap::new();
        for item in &batch.intakes {
            let outcome = intake.accept(item, lookups, &mut in_batch, ledger);
            intake.outcomes.push(outcome);
        }
        intake
    }

    pub(super) fn into_outcomes(self) -> Vec<IntakeOutcome> {
        self.outcomes
    }

    fn accept(
        &mut self,
        item: &'batch IntakeItem,
        lookups: &BatchLookups,
        in_batch: &mut HashMap<(OrganizationId, EventId), Earlier>,
        ledger: &mut Ledger,
    ) -> IntakeOutcome {
        let Some(organization) = lookups.organizations.get(&item.organization) else {
            return IntakeOutcome::Stale;
        };
        let changes = &self.changes;
        let mut found = Found { item, organization, lookups, in_batch, changes, ledger };
        let decision = match decide(item, &mut found) {
            Ok(decision) => decision,
            Err(never) => match never {},
        };
        match decision {
            Decision::Refuse(outcome) => outcome,
            Decision::Accept { applies_change, receipts } => {
                if applies_change && let Some(change) = &item.change {
                    self.changes.apply(item.organization, organization.number, &change.change);
                }
                let new = item.events.iter().zip(&receipts).filter(|(_, receipt)| !receipt.duplicate);
                for (new, _) in new {
                    in_batch.insert((item.organization, new.event.id), Earlier::of(new));
                    self.take(organization.number, new, lookups, ledger);
                }
                IntakeOutcome::Accepted(receipts)
            }
            Decision::DropEvents(part) => {
                if let Some(change) = &item.change {
                    self.changes.apply(item.organization, organization.number, &change.change);
                    self.changes.audit(&change.dropped);
                }
                IntakeOutcome::EventsDropped(part)
            }
        }
    }

    fn take(
        &mut self,
        organization_number: i64,
        new: &'batch NewEvent,
        lookups: &BatchLookups,
        ledger: &mut Ledger,
    ) {
        let event = &new.event;
        ledger.event(organization_number, event.accepted_at, length(&event.payload));
        ledger.pending(organization_number, i64::from(count(&new.deliveries)));
        for delivery in &new.deliveries {
            let webhook = lookups.webhooks[&delivery.webhook].number;
            self.webhook_numbers.push(webhook);
            ledger.made(Account { organization: organization_number, webhook }, event.accepted_at);
            ledger.stored(organization_number, delivery.body.as_deref().map_or(0, length));
        }
        self.accepted.push(Accepted { organization_number, new });
    }

    /// Writes the accepted events and changes, in one round trip.
    pub(super) async fn insert(
        &self,
        tx: &Transaction,
        batch: &Batch,
        lookups: &BatchLookups,
        clock: LeaseClock,
    ) -> Result<(), Fault> {
        let written =
            try_join(self.insert_accepted(tx, batch, clock), self.changes.write(tx, &lookups.cursors));
        match written.await {
            Ok(_) => Ok(()),
            // Another node took an id or inserted a cursor after the lookup. The repeated batch will find it.
            Err(fault) if is_taken(&fault) => Err(Fault::Contended),
            Err(fault) => Err(fault),
        }
    }

    async fn insert_accepted(&self, tx: &Transaction, batch: &Batch, clock: LeaseClock) -> Result<(), Fault> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        try_join3(self.insert_ids(tx), self.insert_events(tx), self.insert_deliveries(tx, batch, clock))
            .await
            .map(drop)
    }

    fn column<T>(&self, of: impl Fn(&'batch Event) -> T) -> Vec<T> {
        self.accepted.iter().map(|accepted| of(&accepted.new.event)).collect()
    }

    fn organization_numbers(&self) -> Vec<i64> {
        self.accepted.iter().map(|accepted| accepted.organization_number).collect()
    }

    fn delivery_counts(&self) -> Vec<i64> {
        self.accepted.iter().map(|accepted| i64::from(count(&accepted.new.deliveries))).collect()
    }

    async fn insert_ids(&self, tx: &Transaction) -> Result<u64, Fault> {
        tx.change(
            &INSERT_IDS,
            &[
                &self.organization_numbers(),
                &self.column(|event| event.id.uuid()),
                &self.column(|event| event.key.uuid()),
                &self.column(|event| event.digest.as_ref().map(<[u8; 32]>::as_slice)),
                &self.delivery_counts(),
            ],
        )
        .await
    }

    async fn insert_events(&self, tx: &Transaction) -> Result<u64, Fault> {
        let subject = |part: usize| self.column(|event| subject_columns(&event.subject)[part]);
        tx.change(
            &INSERT_EVENTS,
            &[
                &self.column(|event| event.key.uuid()),
                &self.organization_numbers(),
                &self.column(|event| event.id.uuid()),
                &self.column(|event| event.kind.as_str()),
                &self.column(|event| join(event.filters.iter().map(Filter::as_str))),
                &subject(0),
                &subject(1),
                &subject(2),
                &self.column(|event| event.digest.as_ref().map(<[u8; 32]>::as_slice)),
                &self.column(|event| event.accepted_at.as_millis()),
                &self.column(|event| event.source.as_str()),
                &self.column(|event| event.token.map(|token| token.uuid())),
                &self.delivery_counts(),
                &self.column(|event| &*event.payload),
            ],
        )
        .await
    }

    async fn insert_deliveries(
        &self,
        tx: &Transaction,
        batch: &Batch,
        clock: LeaseClock,
    ) -> Result<u64, Fault> {
        if self.webhook_numbers.is_empty() {
            return Ok(0);
        }
        let mut rows = DeliveryRows::default();
        for Accepted { organization_number, new } in &self.accepted {
            new.deliveries.iter().for_each(|delivery| {
                rows.push(*organization_number, new, delivery, batch.now);
            });
        }
        tx.change(
            &INSERT_DELIVERIES,
            &[
                &rows.ids,
                &rows.organization_numbers,
                &self.webhook_numbers,
                &rows.event_keys,
                &rows.formats,
                &rows.created_at,
                &rows.lease_tokens,
                &rows.lease_lasts,
                &rows.bodies,
                &clock.now(batch.now),
            ],
        )
        .await
    }
}

/// The rows of new deliveries, as columns.
#[derive(Default)]
struct DeliveryRows<'batch> {
    ids: Vec<Uuid>,
    organization_numbers: Vec<i64>,
    event_keys: Vec<Uuid>,
    formats: Vec<&'static str>,
    created_at: Vec<i64>,
    lease_tokens: Vec<Option<Uuid>>,
    lease_lasts: Vec<Option<i64>>,
    bodies: Vec<Option<&'batch [u8]>>,
}

impl<'batch> DeliveryRows<'batch> {
    fn push(
        &mut self,
        organization_number: i64,
        new: &NewEvent,
        delivery: &'batch NewDelivery,
        now: Timestamp,
    ) {
        self.ids.push(delivery.id.uuid());
        self.organization_numbers.push(organization_number);
        self.event_keys.push(new.event.key.uuid());
        self.formats.push(delivery.format.as_str());
        self.created_at.push(new.event.accepted_at.as_millis());
        self.lease_tokens.push(delivery.lease.map(|lease| lease.token.uuid()));
        self.lease_lasts.push(delivery.lease.map(|lease| lease_lasts(lease, now)));
        self.bodies.push(delivery.body.as_deref());
    }
}

/// The facts about an item's organization.
struct Found<'found, 'batch> {
    item: &'found IntakeItem,
    organization: &'found OrganizationRow,
    lookups: &'found BatchLookups,
    in_batch: &'found HashMap<(OrganizationId, EventId), Earlier>,
    changes: &'found Changes<'batch>,
    ledger: &'found Ledger,
}

impl Lookups for Found<'_, '_> {
    type Fault = Infallible;

    fn version(&mut self) -> Result<Option<u64>, Infallible> {
        let is_own = |delivery: &NewDelivery| {
            let webhook = self.lookups.webhooks.get(&delivery.webhook);
            webhook.is_some_and(|webhook| {
                !webhook.is_deleted && webhook.organization_number == self.organization.number
            })
        };
        let are_own = self.item.events.iter().flat_map(|new| &new.deliveries).all(is_own);
        Ok(are_own.then_some(self.organization.version))
    }

    fn event(&mut self, id: EventId) -> Result<Option<Earlier>, Infallible> {
        let key = (self.item.organization, id);
        Ok(self.in_batch.get(&key).or_else(|| self.lookups.events.get(&key)).copied())
    }

    fn cursor(&mut self, source: SourceId) -> Result<Option<SourceCursor>, Infallible> {
        let set = self.changes.cursor(self.item.organization, source);
        Ok(set.or_else(|| self.lookups.cursors.get(&(self.item.organization, source))).cloned())
    }

    /// The usage without concurrent batches of other nodes, which together may exceed the quota by their size.
    fn usage(&mut self) -> Result<Usage, Infallible> {
        let change = self.ledger.usage(self.organization.number);
        Ok(Usage {
            pending: (self.organization.pending + change.pending).max(0).unsigned_abs(),
            stored_bytes: (self.organization.stored_bytes + change.stored_bytes).max(0).unsigned_abs(),
        })
    }
}
