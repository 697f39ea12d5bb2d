//! Events in.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, params};
use stackbell_model::event::Event;
use stackbell_model::ids::{EventId, OrganizationId, WebhookId};
use stackbell_store::commit::{IntakeItem, IntakeOutcome, NewDelivery, NewEvent, Quota, QuotaPart, Receipt};

use super::known::{Known, KnownOrganization, KnownWebhook};
use crate::error::Fault;
use crate::ledger::{Account, Ledger};
use crate::rows::delivery::{INSERT_DELIVERY, insert_delivery};
use crate::rows::event::{INSERT_EVENT, insert_event};
use crate::rows::first_of;
use crate::session::Kept;
use stackbell_store::rows::Id;

pub(crate) const FIND_EVENT: &str = "/* commit.find_event */ SELECT digest, deliveries FROM events \
    WHERE organization_number = ?1 AND id = ?2";

/// What is known of an event that is in already.
#[derive(Clone, Copy)]
struct Earlier {
    digest: Option<[u8; 32]>,
    deliveries: u32,
}

impl Earlier {
    /// The receipt for the same event again; `None` when it is another.
    fn receipt(self, again: &Event) -> Option<Receipt> {
        let is_same = self.digest.is_some() && self.digest == again.digest;
        is_same.then_some(Receipt { id: again.id, deliveries: self.deliveries, duplicate: true })
    }
}

pub(super) struct Intake<'batch, 'connection> {
    connection: &'connection Connection,
    known: &'batch mut Known<'connection>,
    kept: &'batch mut Kept,
    ledger: &'batch mut Ledger,
    find_event: CachedStatement<'connection>,
    insert_event: CachedStatement<'connection>,
    insert_delivery: CachedStatement<'connection>,
    /// The webhooks' numbers of an item's deliveries, in order. Kept for its memory.
    webhook_numbers: Vec<i64>,
}

impl<'batch, 'connection> Intake<'batch, 'connection> {
    pub(super) fn prepare(
        connection: &'connection Connection,
        known: &'batch mut Known<'connection>,
        kept: &'batch mut Kept,
        ledger: &'batch mut Ledger,
    ) -> Result<Self, Fault> {
        Ok(Self {
            connection,
            known,
            kept,
            ledger,
            find_event: connection.prepare_cached(FIND_EVENT)?,
            insert_event: connection.prepare_cached(INSERT_EVENT)?,
            insert_delivery: connection.prepare_cached(INSERT_DELIVERY)?,
            webhook_numbers: Vec::new(),
        })
    }

    pub(super) fn accept(&mut self, item: &IntakeItem) -> Result<IntakeOutcome, Fault> {
        let organization = self.known.organization(item.organization)?;
        let Some(organization) = organization.filter(|known| known.version == item.organization_version)
        else {
            return Ok(IntakeOutcome::Stale);
        };
        if !self.find_webhooks(&organization, item)? {
            return Ok(IntakeOutcome::Stale);
        }
        match item.events.as_slice() {
            [only] => self.accept_one(&organization, item.quota, only),
            events => self.accept_all(&organization, item.quota, events),
        }
    }

    /// Looks up the webhooks of all deliveries. `false` when one is not the organization's:
    /// whoever matched it was looking at something else.
    fn find_webhooks(&mut self, organization: &KnownOrganization, item: &IntakeItem) -> Result<bool, Fault> {
        self.webhook_numbers.clear();
        for delivery in item.events.iter().flat_map(|new| &new.deliveries) {
            let Some(number) = self.find_webhook(organization, item.organization, delivery.webhook)? else {
                return Ok(false);
            };
            self.webhook_numbers.push(number);
        }
        Ok(true)
    }

    fn find_webhook(
        &mut self,
        organization: &KnownOrganization,
        organization_id: OrganizationId,
        webhook: WebhookId,
    ) -> Result<Option<i64>, Fault> {
        let numbers = &mut self.kept.numbers;
        if let number @ Some(_) = numbers.get(organization_id, organization.version, webhook) {
            return Ok(number);
        }
        let known = self.known.webhook(webhook)?;
        let is_its_own =
            |known: &KnownWebhook| !known.is_deleted && known.organization_number == organization.number;
        let found = known.filter(is_its_own);
        let number = found.map(|known| known.number);
        if let Some(number) = number {
            numbers.learn(organization_id, organization.version, webhook, number);
        }
        Ok(number)
    }

    /// The usual case: the insert itself finds out whether the id is taken.
    fn accept_one(
        &mut self,
        organization: &KnownOrganization,
        quota: Quota,
        new: &NewEvent,
    ) -> Result<IntakeOutcome, Fault> {
        let organization_number = organization.number;
        if let Some(part) = self.exceeded(organization, quota, new.deliveries.len()) {
            return Ok(match self.find_earlier(organization_number, new.event.id)? {
                None => IntakeOutcome::OverQuota(part),
                Some(earlier) => match earlier.receipt(&new.event) {
                    Some(receipt) => IntakeOutcome::Accepted(vec![receipt]),
                    None => IntakeOutcome::Conflict { index: 0 },
                },
            });
        }
        if let Some(receipt) = self.insert(organization_number, new, 0)? {
            return Ok(IntakeOutcome::Accepted(vec![receipt]));
        }
        let earlier = self.find_earlier(organization_number, new.event.id)?;
        Ok(match earlier.and_then(|earlier| earlier.receipt(&new.event)) {
            Some(receipt) => IntakeOutcome::Accepted(vec![receipt]),
            None => IntakeOutcome::Conflict { index: 0 },
        })
    }

    /// Which part of its quota an organization would exceed with a new event that brings so many deliveries along.
    fn exceeded(
        &self,
        organization: &KnownOrganization,
        quota: Quota,
        deliveries: usize,
    ) -> Option<QuotaPart> {
        let change = self.ledger.usage(organization.number);
        let pending = (organization.pending + change.pending).unsigned_abs() + deliveries as u64;
        let stored_bytes = (organization.stored_bytes + change.stored_bytes).unsigned_abs();
        if pending > quota.pending_max {
            Some(QuotaPart::Pending)
        } else if stored_bytes >= quota.stored_bytes_max {
            Some(QuotaPart::StoredBytes)
        } else {
            None
        }
    }

    fn accept_all(
        &mut self,
        organization: &KnownOrganization,
        quota: Quota,
        events: &[NewEvent],
    ) -> Result<IntakeOutcome, Fault> {
        let organization_number = organization.number;
        let duplicates = match self.find_duplicates(organization_number, events)? {
            Ok(duplicates) => duplicates,
            Err(index) => return Ok(IntakeOutcome::Conflict { index }),
        };
        let new = events.iter().zip(&duplicates).filter(|(_, duplicate)| duplicate.is_none());
        let deliveries = new.clone().map(|(new, _)| new.deliveries.len()).sum();
        if new.count() > 0
            && let Some(part) = self.exceeded(organization, quota, deliveries)
        {
            return Ok(IntakeOutcome::OverQuota(part));
        }
        let mut receipts = Vec::with_capacity(events.len());
        let mut first_webhook = 0;
        for (new, duplicate) in events.iter().zip(duplicates) {
            receipts.push(match duplicate {
                Some(receipt) => receipt,
                None => self
                    .insert(organization_number, new, first_webhook)?
                    .expect("its id was looked for in this transaction"),
            });
            first_webhook += new.deliveries.len();
        }
        Ok(IntakeOutcome::Accepted(receipts))
    }

    /// The receipts of those that are in already, `None` for the new ones; or the index of the first conflict.
    fn find_duplicates(
        &mut self,
        organization_number: i64,
        events: &[NewEvent],
    ) -> Result<Result<Vec<Option<Receipt>>, usize>, Fault> {
        let mut in_item: HashMap<EventId, Earlier> = HashMap::new();
        let mut receipts = Vec::with_capacity(events.len());
        for (index, NewEvent { event, deliveries }) in events.iter().enumerate() {
            let earlier = match in_item.get(&event.id) {
                Some(earlier) => Some(*earlier),
                None => self.find_earlier(organization_number, event.id)?,
            };
            let receipt = earlier.map(|earlier| earlier.receipt(event));
            match receipt {
                Some(Some(duplicate)) => receipts.push(Some(duplicate)),
                Some(None) => return Ok(Err(index)),
                None => {
                    in_item.insert(event.id, Earlier { digest: event.digest, deliveries: count(deliveries) });
                    receipts.push(None);
                }
            }
        }
        Ok(Ok(receipts))
    }

    fn find_earlier(&mut self, organization_number: i64, id: EventId) -> Result<Option<Earlier>, Fault> {
        first_of(&mut self.find_event, params![organization_number, id.bytes()], "events", |cursor| {
            Ok(Earlier { digest: cursor.get("digest")?, deliveries: cursor.get("deliveries")? })
        })
    }

    /// Inserts an event with its deliveries, whose webhooks' numbers begin at `first_webhook`; `None` when its id is taken.
    fn insert(
        &mut self,
        organization_number: i64,
        new: &NewEvent,
        first_webhook: usize,
    ) -> Result<Option<Receipt>, Fault> {
        let deliveries = count(&new.deliveries);
        let stored = insert_event(&mut self.insert_event, organization_number, &new.event, deliveries)?;
        let Some(stored_bytes) = stored else { return Ok(None) };
        self.ledger.event(organization_number, new.event.accepted_at, stored_bytes);
        self.ledger.pending(organization_number, i64::from(deliveries));
        let event_number = self.connection.last_insert_rowid();
        for (position, delivery) in (first_webhook..).zip(&new.deliveries) {
            let webhook_number = self.webhook_numbers[position];
            let row = delivery.born(&new.event);
            let stored_bytes =
                insert_delivery(&mut self.insert_delivery, webhook_number, Some(event_number), &row)?;
            self.ledger.stored(organization_number, stored_bytes);
            let account = Account { organization: organization_number, webhook: webhook_number };
            self.ledger.made(account, row.created_at);
            if let Some(lease) = delivery.lease {
                self.kept.leases.grant(self.connection.last_insert_rowid(), lease);
            }
        }
        Ok(Some(Receipt { id: new.event.id, deliveries, duplicate: false }))
    }
}

fn count(deliveries: &[NewDelivery]) -> u32 {
    u32::try_from(deliveries.len()).expect("webhooks are fewer than 2^32")
}
