//! Intake of events.

use rusqlite::{CachedStatement, Connection, params};
use stackbell_model::ids::{EventId, OrganizationId, SourceId, WebhookId};
use stackbell_model::source::SourceCursor;
use stackbell_store::commit::{IntakeItem, IntakeOutcome, NewEvent, Receipt};
use stackbell_store::decision::intake::{Decision, Earlier, Lookups, count, decide};
use stackbell_store::statistics::Usage;

use super::lookups::{BatchLookups, OrganizationRow, WebhookRow};
use crate::error::Fault;
use crate::ledger::{Account, Ledger};
use crate::rows::audit::insert_audit;
use crate::rows::delivery::{INSERT_DELIVERY, insert_delivery};
use crate::rows::event::{INSERT_EVENT, insert_event};
use crate::rows::first_of;
use crate::session::WriterMemory;
use crate::sources::{apply, find_cursor};
use stackbell_store::rows::Id;

pub(crate) const FIND_EVENT: &str = "/* commit.find_event */ SELECT digest, deliveries FROM events \
    WHERE organization_number = ?1 AND id = ?2";

pub(super) struct Intake<'batch, 'connection> {
    connection: &'connection Connection,
    lookups: &'batch mut BatchLookups<'connection>,
    memory: &'batch mut WriterMemory,
    ledger: &'batch mut Ledger,
    find_event: CachedStatement<'connection>,
    insert_event: CachedStatement<'connection>,
    insert_delivery: CachedStatement<'connection>,
    /// The rowids of the webhooks of an item's deliveries, in order. It is a field so that its memory is reused.
    webhook_rowids: Vec<i64>,
}

impl<'batch, 'connection> Intake<'batch, 'connection> {
    pub(super) fn prepare(
        connection: &'connection Connection,
        lookups: &'batch mut BatchLookups<'connection>,
        memory: &'batch mut WriterMemory,
        ledger: &'batch mut Ledger,
    ) -> Result<Self, Fault> {
        Ok(Self {
            connection,
            lookups,
            memory,
            ledger,
            find_event: connection.prepare_cached(FIND_EVENT)?,
            insert_event: connection.prepare_cached(INSERT_EVENT)?,
            insert_delivery: connection.prepare_cached(INSERT_DELIVERY)?,
            webhook_rowids: Vec::new(),
        })
    }

    pub(super) fn accept(&mut self, item: &IntakeItem) -> Result<IntakeOutcome, Fault> {
        let Some(organization) = self.lookups.organization(item.organization)? else {
            return Ok(IntakeOutcome::Stale);
        };
        let is_own = self.find_webhooks(&organization, item)?;
        // Most items are one new event. Its insert detects an id that is taken, which saves a lookup.
        let mut is_assumed_new = item.events.len() == 1 && item.change.is_none();
        loop {
            let mut found = Found { intake: self, organization: &organization, is_own, is_assumed_new };
            match decide(item, &mut found)? {
                Decision::Accept { applies_change, receipts } => {
                    if applies_change && let Some(change) = &item.change {
                        apply(self.connection, organization.number, &change.change)?;
                    }
                    if self.insert_all(organization.number, item, &receipts)? {
                        return Ok(IntakeOutcome::Accepted(receipts));
                    }
                }
                // The event may be a duplicate or a conflict, and those are checked before the quota.
                Decision::Refuse(IntakeOutcome::OverQuota(_)) if is_assumed_new => {}
                Decision::Refuse(outcome) => return Ok(outcome),
                Decision::DropEvents(part) => {
                    if let Some(change) = &item.change {
                        apply(self.connection, organization.number, &change.change)?;
                        insert_audit(self.connection, &change.dropped)?;
                    }
                    return Ok(IntakeOutcome::EventsDropped(part));
                }
            }
            assert!(is_assumed_new, "the ids were looked up in this transaction");
            is_assumed_new = false;
        }
    }

    /// Inserts the events whose receipts are no duplicates. Returns false if an id is taken; an item of one event has inserted
    /// nothing then.
    fn insert_all(
        &mut self,
        organization_number: i64,
        item: &IntakeItem,
        receipts: &[Receipt],
    ) -> Result<bool, Fault> {
        let mut first_webhook = 0;
        for (new, receipt) in item.events.iter().zip(receipts) {
            if !receipt.duplicate && !self.insert(organization_number, new, first_webhook)? {
                return Ok(false);
            }
            first_webhook += new.deliveries.len();
        }
        Ok(true)
    }

    /// Looks up the webhooks of all deliveries. Returns false if one of them is not the organization's: then the item was matched
    /// against something else.
    fn find_webhooks(&mut self, organization: &OrganizationRow, item: &IntakeItem) -> Result<bool, Fault> {
        self.webhook_rowids.clear();
        for delivery in item.events.iter().flat_map(|new| &new.deliveries) {
            let Some(number) = self.find_webhook(organization, item.organization, delivery.webhook)? else {
                return Ok(false);
            };
            self.webhook_rowids.push(number);
        }
        Ok(true)
    }

    fn find_webhook(
        &mut self,
        organization: &OrganizationRow,
        organization_id: OrganizationId,
        webhook: WebhookId,
    ) -> Result<Option<i64>, Fault> {
        let rowids = &mut self.memory.webhook_rowids;
        if let number @ Some(_) = rowids.get(organization_id, organization.version, webhook) {
            return Ok(number);
        }
        let is_own = |row: &WebhookRow| !row.is_deleted && row.organization_number == organization.number;
        let number = self.lookups.webhook(webhook)?.filter(is_own).map(|row| row.number);
        if let Some(number) = number {
            rowids.insert(organization_id, organization.version, webhook, number);
        }
        Ok(number)
    }

    /// Inserts an event with its deliveries. The rowids of their webhooks begin at the position `first_webhook`. Returns false if
    /// the event's id is taken.
    fn insert(
        &mut self,
        organization_number: i64,
        new: &NewEvent,
        first_webhook: usize,
    ) -> Result<bool, Fault> {
        let deliveries = count(&new.deliveries);
        let stored = insert_event(&mut self.insert_event, organization_number, &new.event, deliveries)?;
        let Some(stored_bytes) = stored else { return Ok(false) };
        self.ledger.event(organization_number, new.event.accepted_at, stored_bytes);
        self.ledger.pending(organization_number, i64::from(deliveries));
        let event_number = self.connection.last_insert_rowid();
        for (position, delivery) in (first_webhook..).zip(&new.deliveries) {
            let webhook_number = self.webhook_rowids[position];
            let row = delivery.to_delivery(&new.event);
            let stored_bytes =
                insert_delivery(&mut self.insert_delivery, webhook_number, Some(event_number), &row)?;
            self.ledger.stored(organization_number, stored_bytes);
            let account = Account { organization: organization_number, webhook: webhook_number };
            self.ledger.made(account, row.created_at);
            if let Some(lease) = delivery.lease {
                self.memory.leases.grant(self.connection.last_insert_rowid(), lease);
            }
        }
        Ok(true)
    }
}

/// The facts about an item's organization.
struct Found<'found, 'batch, 'connection> {
    intake: &'found mut Intake<'batch, 'connection>,
    organization: &'found OrganizationRow,
    /// True if the webhooks of all deliveries are the organization's.
    is_own: bool,
    /// True if no event is looked up: all ids count as free.
    is_assumed_new: bool,
}

impl Lookups for Found<'_, '_, '_> {
    type Fault = Fault;

    fn version(&mut self) -> Result<Option<u64>, Fault> {
        Ok(self.is_own.then_some(self.organization.version))
    }

    fn event(&mut self, id: EventId) -> Result<Option<Earlier>, Fault> {
        if self.is_assumed_new {
            return Ok(None);
        }
        let parameters = params![self.organization.number, id.bytes()];
        first_of(&mut self.intake.find_event, parameters, "events", |cursor| {
            Ok(Earlier { digest: cursor.get("digest")?, deliveries: cursor.get("deliveries")? })
        })
    }

    fn cursor(&mut self, source: SourceId) -> Result<Option<SourceCursor>, Fault> {
        find_cursor(self.intake.connection, self.organization.number, source)
    }

    fn usage(&mut self) -> Result<Usage, Fault> {
        let change = self.intake.ledger.usage(self.organization.number);
        Ok(Usage {
            pending: (self.organization.pending + change.pending).unsigned_abs(),
            stored_bytes: (self.organization.stored_bytes + change.stored_bytes).unsigned_abs(),
        })
    }
}
