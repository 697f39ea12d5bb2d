//! Outcomes recorded.

use rusqlite::{CachedStatement, Connection, params};
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Verdict};
use stackbell_model::ids::{DeliveryId, LeaseToken};
use stackbell_model::retry::Next;
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject};

use super::known::{Known, KnownWebhook};
use crate::error::Fault;
use crate::leases::Leases;
use crate::ledger::Ledger;
use crate::rows::attempt::{INSERT_ATTEMPT, insert_attempt};
use crate::rows::delivery::{INSERT_DELIVERY, insert_delivery};
use crate::rows::{first, first_of};
use stackbell_store::rows::delivery::state_columns;
use stackbell_store::rows::{Columns as _, Id};

/// Answered by the index on ids alone.
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

pub(super) struct Recorder<'batch, 'connection> {
    connection: &'connection Connection,
    known: &'batch mut Known<'connection>,
    leases: &'batch mut Leases,
    ledger: &'batch mut Ledger,
    find_number: CachedStatement<'connection>,
    follow: CachedStatement<'connection>,
    insert_attempt: CachedStatement<'connection>,
}

impl<'batch, 'connection> Recorder<'batch, 'connection> {
    pub(super) fn prepare(
        connection: &'connection Connection,
        known: &'batch mut Known<'connection>,
        leases: &'batch mut Leases,
        ledger: &'batch mut Ledger,
    ) -> Result<Self, Fault> {
        Ok(Self {
            connection,
            known,
            leases,
            ledger,
            find_number: connection.prepare_cached(FIND_NUMBER)?,
            follow: connection.prepare_cached(FOLLOW)?,
            insert_attempt: connection.prepare_cached(INSERT_ATTEMPT)?,
        })
    }

    pub(super) fn record(&mut self, record: &AttemptRecord) -> Result<AttemptOutcome, Fault> {
        let AttemptRecord { webhook: webhook_id, attempt, subject } = record;
        let Some(webhook) = self.known.webhook(*webhook_id)? else {
            return Ok(AttemptOutcome::Superseded);
        };
        let delivery_number = match subject {
            AttemptSubject::Leased { delivery, token, next } => {
                self.record_leased(&webhook, *delivery, *token, *next, attempt)?
            }
            AttemptSubject::Redelivery { delivery } => {
                self.record_redelivery(&webhook, *delivery, attempt)?
            }
            AttemptSubject::Ping(delivery) => self.insert_ping(&webhook, delivery)?,
        };
        let Some(delivery_number) = delivery_number else {
            return Ok(AttemptOutcome::Superseded);
        };
        let stored_bytes =
            insert_attempt(&mut self.insert_attempt, delivery_number, webhook.number, attempt)?;
        self.ledger.attempt(webhook.account(), attempt, stored_bytes);
        let ended_at = attempt.started_at.after(attempt.duration);
        let health = webhook.health.after(attempt.trigger, attempt.outcome.verdict(), ended_at);
        self.known.set_health(*webhook_id, health);
        Ok(AttemptOutcome::Recorded { health })
    }

    /// The delivery's number, if it was still the holder's to record.
    fn record_leased(
        &mut self,
        webhook: &KnownWebhook,
        delivery: DeliveryId,
        token: LeaseToken,
        next: Next,
        attempt: &Attempt,
    ) -> Result<Option<i64>, Fault> {
        let number = first_of(
            &mut self.find_number,
            params![delivery.bytes(), webhook.number],
            "deliveries",
            |cursor| cursor.get::<i64>("number"),
        )?;
        let is_holder = |number: &i64| self.leases.get(*number).is_some_and(|lease| lease.token == token);
        let Some(number) = number.filter(is_holder) else {
            return Ok(None);
        };
        let ended_at = attempt.started_at.after(attempt.duration);
        let (state, spent) = match next {
            Next::Succeeded => (State::Succeeded { at: ended_at }, false),
            Next::Failed(reason) => (State::Failed { at: ended_at, reason }, false),
            Next::Retry { at, spent } => (State::Pending { due_at: at }, spent),
        };
        let columns = state_columns(&state);
        let changed = self.follow.execute(params![
            number,
            webhook.number,
            columns.state,
            columns.due_at,
            columns.finished_at,
            columns.fail_reason,
            u32::from(spent),
        ])?;
        if changed == 0 {
            return Ok(None);
        }
        self.leases.end(number);
        if state.kind() != StateKind::Pending {
            self.ledger.pending(webhook.organization_number, -1);
            self.ledger.ended(webhook.account(), ended_at, state.kind());
        }
        Ok(Some(number))
    }

    /// The delivery's number, if it is there.
    fn record_redelivery(
        &mut self,
        webhook: &KnownWebhook,
        delivery: DeliveryId,
        attempt: &Attempt,
    ) -> Result<Option<i64>, Fault> {
        let parameters = params![delivery.bytes(), webhook.number];
        let found = first(self.connection, FIND_OF_WEBHOOK, parameters, "deliveries", |cursor| {
            Ok((cursor.get("number")?, cursor.word("state", StateKind::parse)?))
        })?;
        if let Some((number, state)) = found
            && attempt.outcome.verdict() == Verdict::Success
        {
            let ended_at = attempt.started_at.after(attempt.duration);
            self.connection.prepare_cached(SUCCEED)?.execute(params![number, ended_at.as_millis()])?;
            self.leases.end(number);
            if state == StateKind::Pending {
                self.ledger.pending(webhook.organization_number, -1);
            }
            if state != StateKind::Succeeded {
                self.ledger.ended(webhook.account(), ended_at, StateKind::Succeeded);
            }
        }
        Ok(found.map(|(number, _)| number))
    }

    /// The new delivery's number; `None` when it is in already, by a commit whose answer was lost.
    fn insert_ping(&mut self, webhook: &KnownWebhook, delivery: &Delivery) -> Result<Option<i64>, Fault> {
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
        self.ledger.made(webhook.account(), delivery.created_at);
        match &delivery.state {
            State::Pending { .. } => self.ledger.pending(webhook.organization_number, 1),
            State::Succeeded { at } | State::Failed { at, .. } | State::Cancelled { at, .. } => {
                self.ledger.ended(webhook.account(), *at, delivery.state.kind());
            }
        }
        Ok(Some(number))
    }
}
