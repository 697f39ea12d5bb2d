//! Recording of attempts.

use rusqlite::{CachedStatement, Connection, params};
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind};
use stackbell_model::ids::{DeliveryId, LeaseToken};
use stackbell_model::retry::Next;
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject};
use stackbell_store::decision::attempt::{Effect, Transition, late, leased, on_demand};

use super::lookups::{BatchLookups, WebhookRow};
use crate::error::Fault;
use crate::leases::Leases;
use crate::ledger::Ledger;
use crate::maintenance::CANCEL;
use crate::rows::attempt::{INSERT_ATTEMPT, insert_attempt};
use crate::rows::delivery::{INSERT_DELIVERY, insert_delivery};
use crate::rows::{change, first, first_of};
use stackbell_store::rows::delivery::state_columns;
use stackbell_store::rows::{Columns as _, Id};

/// Reads only the index on ids.
pub(crate) const FIND_NUMBER: &str =
    "/* commit.find_number */ SELECT number FROM deliveries WHERE webhook_number = ?2 AND id = ?1";

pub(crate) const FIND_OF_WEBHOOK: &str = "/* commit.find_of_webhook */ SELECT number, state FROM deliveries \
    WHERE webhook_number = ?2 AND id = ?1";

pub(crate) const FOLLOW: &str = "/* commit.follow */ UPDATE deliveries SET state = ?3, due_at = ?4, \
    finished_at = ?5, fail_reason = ?6, attempts_spent = attempts_spent + ?7 \
    WHERE number = ?1 AND webhook_number = ?2 AND state = 'pending'";

pub(crate) const SUCCEED: &str = "/* commit.succeed */ UPDATE deliveries SET state = 'succeeded', \
    due_at = NULL, finished_at = ?2, fail_reason = NULL, cancel_reason = NULL, \
    cancelled_by = NULL WHERE number = ?1";

pub(crate) const DELETED_BY: &str =
    "/* commit.deleted_by */ SELECT number, deleted_by FROM webhooks WHERE number = ?1";

pub(crate) const FIND_ATTEMPT: &str = "/* commit.find_attempt */ SELECT number FROM attempts \
    WHERE delivery_number = ?1 AND started_at = ?2 AND trigger = ?3";

/// A delivery whose attempt is recorded, and the state in which the attempt ended it, if it did.
struct Recorded {
    number: i64,
    ended: Option<State>,
}

pub(super) struct Recorder<'batch, 'connection> {
    connection: &'connection Connection,
    lookups: &'batch mut BatchLookups<'connection>,
    leases: &'batch mut Leases,
    ledger: &'batch mut Ledger,
    find_number: CachedStatement<'connection>,
    follow: CachedStatement<'connection>,
    insert_attempt: CachedStatement<'connection>,
}

impl<'batch, 'connection> Recorder<'batch, 'connection> {
    pub(super) fn prepare(
        connection: &'connection Connection,
        lookups: &'batch mut BatchLookups<'connection>,
        leases: &'batch mut Leases,
        ledger: &'batch mut Ledger,
    ) -> Result<Self, Fault> {
        Ok(Self {
            connection,
            lookups,
            leases,
            ledger,
            find_number: connection.prepare_cached(FIND_NUMBER)?,
            follow: connection.prepare_cached(FOLLOW)?,
            insert_attempt: connection.prepare_cached(INSERT_ATTEMPT)?,
        })
    }

    pub(super) fn record(&mut self, record: &AttemptRecord) -> Result<AttemptOutcome, Fault> {
        let AttemptRecord { webhook: webhook_id, attempt, subject, .. } = record;
        let Some(webhook) = self.lookups.webhook(*webhook_id)? else {
            return Ok(AttemptOutcome::Superseded);
        };
        let recorded = match subject {
            AttemptSubject::Leased { delivery, token, next } => {
                self.record_leased(&webhook, *delivery, *token, *next, attempt)?
            }
            AttemptSubject::Redelivery { delivery } => {
                self.record_redelivery(&webhook, *delivery, attempt)?
            }
            AttemptSubject::Ping(delivery) => self.insert_ping(&webhook, delivery)?,
        };
        let Some(Recorded { number, ended }) = recorded else {
            return Ok(AttemptOutcome::Superseded);
        };
        let stored_bytes = insert_attempt(&mut self.insert_attempt, number, webhook.number, attempt)?;
        self.ledger.attempt(webhook.account(), attempt, stored_bytes);
        let health = record.health_after(webhook.health, webhook.revision, webhook.is_deleted);
        if health != webhook.health {
            self.lookups.set_health(*webhook_id, health);
        }
        Ok(AttemptOutcome::Recorded { health, ended })
    }

    /// Records an attempt of a leased delivery. `None` if it is superseded.
    fn record_leased(
        &mut self,
        webhook: &WebhookRow,
        delivery: DeliveryId,
        token: LeaseToken,
        next: Next,
        attempt: &Attempt,
    ) -> Result<Option<Recorded>, Fault> {
        let number = first_of(
            &mut self.find_number,
            params![delivery.bytes(), webhook.number],
            "deliveries",
            |cursor| cursor.get::<i64>("number"),
        )?;
        let Some(number) = number else { return Ok(None) };
        let is_holder = self.leases.get(number).is_some_and(|lease| lease.token == token);
        if !is_holder {
            return self.record_late(webhook, delivery, attempt);
        }
        let deleted_by = if webhook.is_deleted { self.deleted_by(webhook)? } else { None };
        let transition = leased(next, attempt, deleted_by.as_deref());
        let changed = if let State::Cancelled { at, by, .. } = &transition.to {
            change(self.connection, CANCEL, params![number, at.as_millis(), by])?
        } else {
            let columns = state_columns(&transition.to);
            self.follow.execute(params![
                number,
                webhook.number,
                columns.state,
                columns.due_at,
                columns.finished_at,
                columns.fail_reason,
                u32::from(transition.spent),
            ])?
        };
        if changed == 0 {
            return self.record_late(webhook, delivery, attempt);
        }
        Ok(Some(self.moved(webhook, number, &transition, attempt)))
    }

    /// The actor that deleted a webhook.
    fn deleted_by(&self, webhook: &WebhookRow) -> Result<Option<Box<str>>, Fault> {
        first(self.connection, DELETED_BY, [webhook.number], "webhooks", |cursor| {
            cursor.skip("number")?;
            cursor.get("deleted_by")
        })
    }

    /// Records an attempt whose lease is lost. `None` if it is superseded.
    fn record_late(
        &mut self,
        webhook: &WebhookRow,
        delivery: DeliveryId,
        attempt: &Attempt,
    ) -> Result<Option<Recorded>, Fault> {
        let Some((number, state)) = self.find_of_webhook(webhook, delivery)? else { return Ok(None) };
        let same = params![number, attempt.started_at.as_millis(), attempt.trigger.as_str()];
        let recorded =
            first(self.connection, FIND_ATTEMPT, same, "attempts", |cursor| cursor.get::<i64>("number"))?;
        self.write_effect(webhook, number, late(state, recorded.is_some(), attempt), attempt)
    }

    /// Records an attempt that a user requested. `None` if its delivery does not exist.
    fn record_redelivery(
        &mut self,
        webhook: &WebhookRow,
        delivery: DeliveryId,
        attempt: &Attempt,
    ) -> Result<Option<Recorded>, Fault> {
        let Some((number, state)) = self.find_of_webhook(webhook, delivery)? else { return Ok(None) };
        self.write_effect(webhook, number, on_demand(state, attempt), attempt)
    }

    fn find_of_webhook(
        &self,
        webhook: &WebhookRow,
        delivery: DeliveryId,
    ) -> Result<Option<(i64, StateKind)>, Fault> {
        let parameters = params![delivery.bytes(), webhook.number];
        first(self.connection, FIND_OF_WEBHOOK, parameters, "deliveries", |cursor| {
            Ok((cursor.get("number")?, cursor.word("state", StateKind::parse)?))
        })
    }

    /// Writes the effect of an attempt that has no lease. Such an attempt can only make its delivery succeeded.
    fn write_effect(
        &mut self,
        webhook: &WebhookRow,
        number: i64,
        effect: Effect,
        attempt: &Attempt,
    ) -> Result<Option<Recorded>, Fault> {
        let transition = match effect {
            Effect::Superseded => return Ok(None),
            Effect::Recorded => return Ok(Some(Recorded { number, ended: None })),
            Effect::Moved(transition) => transition,
        };
        let parameters = params![number, attempt.ended_at().as_millis()];
        self.connection.prepare_cached(SUCCEED)?.execute(parameters)?;
        Ok(Some(self.moved(webhook, number, &transition, attempt)))
    }

    /// Ends the lease of a delivery that has changed its state, and counts the change.
    fn moved(
        &mut self,
        webhook: &WebhookRow,
        number: i64,
        transition: &Transition,
        attempt: &Attempt,
    ) -> Recorded {
        self.leases.end(number);
        self.ledger.moved(webhook.account(), attempt.ended_at(), transition);
        Recorded { number, ended: transition.ended().cloned() }
    }

    /// Inserts a ping. `None` if a commit whose response was lost has inserted it already.
    fn insert_ping(&mut self, webhook: &WebhookRow, delivery: &Delivery) -> Result<Option<Recorded>, Fault> {
        let id = params![delivery.id.bytes(), webhook.number];
        if first(self.connection, FIND_NUMBER, id, "deliveries", |cursor| cursor.get::<i64>("number"))?
            .is_some()
        {
            return Ok(None);
        }
        let mut insert = self.connection.prepare_cached(INSERT_DELIVERY)?;
        let stored_bytes = insert_delivery(&mut insert, webhook.number, None, delivery)?;
        let number = self.connection.last_insert_rowid();
        self.ledger.stored(webhook.organization_number, stored_bytes);
        self.ledger.inserted(webhook.account(), delivery);
        Ok(Some(Recorded { number, ended: None }))
    }
}
