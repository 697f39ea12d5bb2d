//! Attempts: begun with a permit, ended with an outcome to record. And pings and redeliveries, which pass the queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Delivery, FailReason, Outcome, State, Verdict};
use stackbell_model::ids::{DeliveryId, LeaseToken};
use stackbell_model::retry::{Next, is_repeatable};
use stackbell_model::webhook::Webhook;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject};
use stackbell_store::history::{StoredAttempt, StoredDelivery};

use super::Core;
use super::in_progress::{InProgress, KeptLease};
use super::intake::PendingRecord;
use super::lane::{HealthChange, Lane};
use super::messages::{AttemptKey, AttemptRequest, Command, Notice, OnDemandRefusal, OnDemandTicket};
use super::permits::{Permit, Tier};

/// How much of an answer's body is kept for attempts between the first and the last of a delivery.
const BODY_BETWEEN_BYTES_MAX: usize = 1024;

/// On whose behalf an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requester {
    /// The queue's.
    Leased { token: LeaseToken, trigger: AttemptTrigger },
    /// Somebody's who asked for the delivery again.
    Redelivery { ticket: OnDemandTicket },
    /// Somebody's who asked for a ping.
    Ping { ticket: OnDemandTicket },
}

impl Requester {
    pub(super) fn leased(delivery: &Delivery, token: LeaseToken) -> Self {
        debug_assert!(matches!(delivery.state, State::Pending { .. }));
        Self::Leased { token, trigger: AttemptTrigger::Schedule }
    }

    const fn trigger(self) -> AttemptTrigger {
        match self {
            Self::Leased { trigger, .. } => trigger,
            Self::Redelivery { .. } => AttemptTrigger::Redeliver,
            Self::Ping { .. } => AttemptTrigger::Ping,
        }
    }
}

/// An attempt on its way.
#[derive(Debug)]
pub(super) struct InFlight {
    webhook: Arc<Webhook>,
    delivery: StoredDelivery,
    subject: Requester,
    permit: Permit,
}

/// What is to be done once an outcome is recorded.
#[derive(Clone, Debug)]
pub(super) struct RecordNote {
    webhook: Arc<Webhook>,
    delivery: DeliveryId,
    /// When the delivery is due again.
    due_again: Option<Timestamp>,
    /// Who waits for it.
    waiting: Option<(OnDemandTicket, Box<StoredDelivery>)>,
}

impl Core {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing; a struct would only rename them"
    )]
    pub(super) fn begin_attempt(
        &mut self,
        webhook: Arc<Webhook>,
        delivery: Delivery,
        payload: Bytes,
        subject: Requester,
        permit: Permit,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        if let Requester::Leased { token, .. } = subject {
            self.in_progress.insert(delivery.id, InProgress::new(&delivery, token));
        }
        let key = self.next_attempt_key();
        let in_flight = InFlight {
            webhook: Arc::clone(&webhook),
            delivery: StoredDelivery { delivery: delivery.clone(), payload: payload.clone() },
            subject,
            permit,
        };
        self.in_flight.insert(key, in_flight);
        let trigger = subject.trigger();
        if matches!(subject, Requester::Leased { .. }) && self.is_too_old(&delivery, &webhook, now) {
            self.attempt_ended(key, not_sent(trigger, &webhook, now), now);
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&webhook.id) {
            lane.sends(now);
        }
        commands.push(Command::Attempt(Box::new(AttemptRequest {
            key,
            trigger,
            webhook,
            delivery,
            payload,
            started_at: now,
        })));
    }

    fn is_too_old(&self, delivery: &Delivery, webhook: &Webhook, now: Timestamp) -> bool {
        self.config.retry.is_expired(
            now,
            webhook.is_held(),
            delivery.armed_at(),
            webhook.health.hold_ended_at,
        )
    }

    pub(super) fn attempt_ended(&mut self, key: AttemptKey, mut attempt: Attempt, now: Timestamp) {
        let Some(InFlight { webhook, mut delivery, subject, permit }) = self.in_flight.remove(&key) else {
            return;
        };
        // What was not sent cost nobody anything, nor did what found its endpoint quick.
        let mut is_unspent = matches!(attempt.outcome, Outcome::Undeliverable { .. });
        let mut retry_until = self.config.retry.wait_asked(&attempt.outcome).map(|wait| now.after(wait));
        let mut is_between = false;
        let (subject, note) = match subject {
            Requester::Leased { token, trigger } => {
                let next = self.next(trigger, &delivery.delivery, &webhook, &attempt.outcome, now);
                let next = self.in_order(next, &delivery.delivery, &attempt.outcome, &mut retry_until);
                is_between = matches!(next, Next::Retry { .. }) && delivery.delivery.attempts_spent > 0;
                let id = delivery.delivery.id;
                (
                    AttemptSubject::Leased { delivery: id, token, next },
                    RecordNote::of_next(Arc::clone(&webhook), id, next),
                )
            }
            Requester::Redelivery { ticket } => {
                if attempt.outcome.verdict() == Verdict::Success
                    && !matches!(delivery.delivery.state, State::Succeeded { .. })
                {
                    delivery.delivery.state = State::Succeeded { at: now };
                }
                let subject = AttemptSubject::Redelivery { delivery: delivery.delivery.id };
                (subject, RecordNote::asked(Arc::clone(&webhook), ticket, delivery))
            }
            Requester::Ping { ticket } => {
                let delivery = finished_ping(delivery, &attempt.outcome, now);
                (
                    AttemptSubject::Ping(Box::new(delivery.delivery.clone())),
                    RecordNote::asked(Arc::clone(&webhook), ticket, delivery),
                )
            }
        };
        if let Some(lane) = self.lanes.get_mut(&webhook.id) {
            lane.attempt_ended(&attempt, webhook.revision, retry_until, &self.config, now);
            is_unspent |= lane.tier() == Tier::Quick;
        }
        if is_unspent {
            self.permits.release_unspent(permit);
        } else {
            self.permits.release(permit);
        }
        self.trim_prefetched(webhook.id);
        if is_between {
            trim_body(&mut attempt);
        }
        let revision = webhook.revision;
        let record = AttemptRecord { webhook: webhook.id, revision, attempt, retry_until, subject };
        self.record_bytes += record_bytes(&record);
        self.records.push_back(PendingRecord { record, note });
        self.reschedule(webhook.id, now);
    }

    /// Keeps the place of a delivery whose webhook is sent to in order, in two cases: the failure was ours, or the endpoint
    /// throttled it. A throttled delivery holds its webhook for the wait of the schedule, so that no later message overtakes it.
    /// A delivery that failed by itself loses its place.
    fn in_order(
        &self,
        next: Next,
        delivery: &Delivery,
        outcome: &Outcome,
        retry_until: &mut Option<Timestamp>,
    ) -> Next {
        let is_ordered = self.lanes.get(&delivery.webhook).is_some_and(Lane::is_ordered);
        let (Next::Retry { at, spent }, State::Pending { due_at }) = (next, &delivery.state) else {
            return next;
        };
        let is_throttled = spent && (retry_until.is_some() || outcome.is_throttled());
        if !is_ordered || (spent && !is_throttled) {
            return next;
        }
        if is_throttled {
            *retry_until = Some(at);
        }
        Next::Retry { at: at.min(*due_at), spent }
    }

    /// Decides about a leased delivery by its schedule.
    fn next(
        &mut self,
        trigger: AttemptTrigger,
        delivery: &Delivery,
        webhook: &Webhook,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Next {
        if matches!(outcome, Outcome::Undeliverable { .. }) && self.is_too_old(delivery, webhook, now) {
            return Next::Failed(FailReason::Expired);
        }
        let State::Pending { due_at } = delivery.state else {
            return Next::Failed(FailReason::Undeliverable);
        };
        match (trigger, outcome) {
            // Cut by our own stop: it goes out as soon as we are back.
            (_, Outcome::OurFault { .. }) if self.stopping => Next::Retry { at: now, spent: false },
            (AttemptTrigger::Probe, _)
                if matches!(outcome.verdict(), Verdict::Failure | Verdict::Gone)
                    && is_repeatable(delivery.format, outcome) =>
            {
                Next::Retry { at: due_at, spent: false }
            }
            _ => {
                let jitter = self.entropy.fraction();
                self.config.retry.next(delivery, outcome, now, jitter)
            }
        }
    }

    /// An outcome is in, or came too late.
    pub(super) fn recorded(
        &mut self,
        record: &AttemptRecord,
        outcome: AttemptOutcome,
        note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        if outcome == AttemptOutcome::Superseded && self.may_be_superseded_by_ourselves(record) {
            self.superseded.push(PendingRecord { record: record.clone(), note });
            if self.leasing.is_none() {
                self.sort_superseded(now, commands);
            }
            return;
        }
        self.conclude(record, outcome, note, now, commands);
    }

    fn conclude(
        &mut self,
        record: &AttemptRecord,
        outcome: AttemptOutcome,
        note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let kept = self.forget_record(record, now);
        let RecordNote { webhook, delivery, due_again, waiting } = note;
        match outcome {
            AttemptOutcome::Recorded { health, ended } => {
                if let Some(lane) = self.lanes.get_mut(&webhook.id) {
                    let change = lane.learn_health(&health, &self.config, now);
                    due_again.into_iter().for_each(|at| lane.note_due(at));
                    self.note_health_change(&webhook, change, commands);
                }
                commands.extend(
                    ended.map(|state| Command::Note(Notice::Ended { webhook: webhook.id, delivery, state })),
                );
                if let Some((ticket, delivery)) = waiting {
                    let response = StoredAttempt { delivery: *delivery, attempt: record.attempt.clone() };
                    commands.push(Command::RespondOnDemand { ticket, response: Ok(Box::new(response)) });
                }
            }
            AttemptOutcome::Superseded => {
                commands.push(Command::Note(Notice::Superseded { webhook: webhook.id }));
                if let Some((ticket, _)) = waiting {
                    commands.push(Command::RespondOnDemand { ticket, response: Err(OnDemandRefusal::Gone) });
                }
            }
        }
        self.trim_prefetched(webhook.id);
        if let Some(kept) = kept {
            self.go_on_with(kept, now);
        }
        self.reschedule(webhook.id, now);
    }

    /// Whether the lease that a record showed ran out while it was on its way, and we took the next one ourselves,
    /// or may just be taking it.
    fn may_be_superseded_by_ourselves(&self, record: &AttemptRecord) -> bool {
        self.shows_old_lease(record)
            || self.leasing.as_ref().is_some_and(|leasing| leasing.is_of(record.webhook))
    }

    fn shows_old_lease(&self, record: &AttemptRecord) -> bool {
        match record.subject {
            AttemptSubject::Leased { delivery, token, .. } => {
                self.in_progress.get(&delivery).is_some_and(|current| current.token() != token)
            }
            AttemptSubject::Redelivery { .. } | AttemptSubject::Ping(_) => false,
        }
    }

    /// No lease is being asked for now, so it is known which records came too late because of ourselves: they go again.
    pub(super) fn sort_superseded(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        for delivery in std::mem::take(&mut self.redelivered) {
            self.redelivery_recorded(delivery, now);
        }
        for pending in std::mem::take(&mut self.superseded) {
            if self.shows_old_lease(&pending.record) {
                self.records.push_back(pending);
            } else {
                self.conclude(&pending.record, AttemptOutcome::Superseded, pending.note, now, commands);
            }
        }
    }

    /// Gives the lease that we have taken of its delivery since, if any.
    fn forget_record(&mut self, record: &AttemptRecord, now: Timestamp) -> Option<KeptLease> {
        self.record_bytes -= record_bytes(record);
        if let Some(lane) = self.lanes.get_mut(&record.webhook) {
            lane.outcome_recorded();
        }
        if let AttemptSubject::Redelivery { delivery } = record.subject {
            self.commits.values_mut().for_each(|commit| commit.note_redelivery(delivery));
        }
        match record.subject {
            AttemptSubject::Leased { delivery, token, .. } => {
                return self
                    .in_progress
                    .remove(&delivery)
                    .and_then(|in_progress| in_progress.kept_beside(token));
            }
            AttemptSubject::Redelivery { delivery } if self.leasing.is_some() => {
                self.redelivered.push(delivery);
            }
            AttemptSubject::Redelivery { delivery } => self.redelivery_recorded(delivery, now),
            AttemptSubject::Ping(_) => {}
        }
        None
    }

    /// A record that the store cannot take, ever. Its delivery is sent again once its lease has run out.
    pub(super) fn give_up_record(
        &mut self,
        record: &AttemptRecord,
        mut note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.forget_record(record, now);
        note.refuse_waiting(commands);
        // One that was born leased has not been leased since, so that nothing says when its lease is over.
        self.note_due(note.webhook.organization, record.webhook, now, now);
        commands.push(Command::Note(Notice::Unrecordable { webhook: record.webhook }));
    }

    fn redelivery_recorded(&mut self, delivery: DeliveryId, now: Timestamp) {
        self.forget_kept_of(delivery, now);
        if let Some(count) = self.redelivering.get_mut(&delivery) {
            *count -= 1;
            if *count == 0 {
                self.redelivering.remove(&delivery);
            }
        }
    }

    fn note_health_change(&mut self, webhook: &Webhook, change: HealthChange, commands: &mut Vec<Command>) {
        let notice = match change {
            HealthChange::None => return,
            HealthChange::Suspended(reason) => Notice::Suspended { webhook: webhook.id, reason },
            HealthChange::Resumed => Notice::Resumed { webhook: webhook.id },
        };
        // The snapshot holds the webhook as it was; nobody edited it, so its version did not change.
        self.snapshots.remove(&webhook.organization);
        commands.push(Command::Note(notice));
    }
}

impl RecordNote {
    fn of_next(webhook: Arc<Webhook>, delivery: DeliveryId, next: Next) -> Self {
        let due_again = match next {
            Next::Succeeded | Next::Failed(_) => None,
            Next::Retry { at, .. } => Some(at),
        };
        Self { webhook, delivery, due_again, waiting: None }
    }

    fn asked(webhook: Arc<Webhook>, ticket: OnDemandTicket, delivery: StoredDelivery) -> Self {
        let (id, waiting) = (delivery.delivery.id, Some((ticket, Box::new(delivery))));
        Self { webhook, delivery: id, due_again: None, waiting }
    }

    /// Whoever waits is told that it is not recorded now.
    pub(super) fn refuse_waiting(&mut self, commands: &mut Vec<Command>) {
        if let Some((ticket, _)) = self.waiting.take() {
            commands.push(Command::RespondOnDemand { ticket, response: Err(OnDemandRefusal::Unavailable) });
        }
    }
}

/// About what an outcome takes in memory.
pub(super) fn record_bytes(record: &AttemptRecord) -> usize {
    const REST: usize = 512;
    record
        .attempt
        .outcome
        .response()
        .map_or(REST, |response| response.body.len() + response.headers.len() + REST)
}

fn not_sent(trigger: AttemptTrigger, webhook: &Webhook, now: Timestamp) -> Attempt {
    Attempt {
        trigger,
        started_at: now,
        duration: Duration::ZERO,
        request_url: webhook.payload_url.expose().into(),
        request_headers: "".into(),
        outcome: Outcome::Undeliverable { text: "not sent: the delivery is too old".into() },
    }
}

fn finished_ping(mut ping: StoredDelivery, outcome: &Outcome, now: Timestamp) -> StoredDelivery {
    ping.delivery.attempts_spent = 1;
    ping.delivery.state = match outcome.verdict() {
        Verdict::Success => State::Succeeded { at: now },
        Verdict::Failure | Verdict::Gone => State::Failed { at: now, reason: FailReason::AttemptsExhausted },
        Verdict::None => State::Failed { at: now, reason: FailReason::Undeliverable },
    };
    ping
}

fn trim_body(attempt: &mut Attempt) {
    if let Some(response) = attempt.outcome.response_mut()
        && response.body.len() > BODY_BETWEEN_BYTES_MAX
    {
        let end = response.body.floor_char_boundary(BODY_BETWEEN_BYTES_MAX);
        response.body = response.body[..end].into();
    }
}
