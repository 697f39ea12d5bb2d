//! Attempts in flight, and the outcome that each leaves to record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Delivery, FailReason, Outcome, State, Verdict};
use stackbell_model::ids::LeaseToken;
use stackbell_model::retry::{Next, is_repeatable};
use stackbell_model::webhook::Webhook;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::commit::{AttemptRecord, AttemptSubject};
use stackbell_store::history::StoredDelivery;
use stackbell_store::queue::LeasedDelivery;

use super::config::CoreConfig;
use super::lanes::Lanes;
use super::messages::{AttemptKey, AttemptRequest};
use super::outcomes::RecordNote;
use super::permits::Permit;
use super::requester::Requester;

/// Bytes of a response body that are kept for attempts between the first and the last of a delivery.
const BODY_BETWEEN_BYTES_MAX: usize = 1024;

/// An attempt that is to begin.
#[derive(Debug)]
pub(super) struct Start {
    webhook: Arc<Webhook>,
    delivery: Delivery,
    payload: Bytes,
    requester: Requester,
    permit: Permit,
}

impl Start {
    pub(super) fn new(
        webhook: Arc<Webhook>,
        leased: LeasedDelivery,
        requester: Requester,
        permit: Permit,
    ) -> Self {
        let LeasedDelivery { delivery, payload } = leased;
        Self { webhook, delivery, payload, requester, permit }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The lease of an attempt of the queue.
    pub(super) fn lease_token(&self) -> Option<LeaseToken> {
        match self.requester {
            Requester::Queue { token, .. } => Some(token),
            Requester::Redelivery { .. } | Requester::Ping { .. } => None,
        }
    }
}

/// An attempt in flight.
#[derive(Debug)]
struct InFlight {
    webhook: Arc<Webhook>,
    delivery: StoredDelivery,
    requester: Requester,
    permit: Permit,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    record: AttemptRecord,
    note: RecordNote,
    permit: Permit,
    /// True if it was neither the first attempt of its delivery nor the last.
    is_between: bool,
}

impl Ended {
    /// The record, with the whole response body, and the permit.
    pub(super) fn into_parts(self) -> (EndedRecord, Permit) {
        let Self { record, note, permit, is_between } = self;
        (EndedRecord { record, note, is_between }, permit)
    }
}

/// The record of an attempt that has ended.
#[derive(Debug)]
pub(super) struct EndedRecord {
    record: AttemptRecord,
    note: RecordNote,
    is_between: bool,
}

impl EndedRecord {
    /// With the whole response body.
    pub(super) fn record(&self) -> &AttemptRecord {
        &self.record
    }

    /// With the part of the response body that is kept.
    pub(super) fn into_outcome(self) -> (AttemptRecord, RecordNote) {
        let Self { mut record, note, is_between } = self;
        if is_between {
            trim_body(&mut record.attempt);
        }
        (record, note)
    }
}

/// All attempts in flight.
#[derive(Debug)]
pub(super) struct Attempts {
    config: Arc<CoreConfig>,
    in_flight: HashMap<AttemptKey, InFlight>,
    /// The key of the last attempt.
    last: u64,
}

impl Attempts {
    pub(super) fn new(config: Arc<CoreConfig>) -> Self {
        Self { config, in_flight: HashMap::new(), last: 0 }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// The delivery is too old to be sent. The attempt has ended without a request.
    pub(super) fn begin(&mut self, start: Start, now: Timestamp) -> Result<Box<AttemptRequest>, Box<Ended>> {
        self.last += 1;
        let key = AttemptKey(self.last);
        let Start { webhook, delivery, payload, requester, permit } = start;
        let in_flight = InFlight {
            webhook: Arc::clone(&webhook),
            delivery: StoredDelivery { delivery: delivery.clone(), payload: payload.clone() },
            requester,
            permit,
        };
        let trigger = requester.trigger();
        if let Requester::Queue { token, .. } = requester
            && self.is_too_old(&delivery, &webhook, now)
        {
            let next = Next::Failed(FailReason::Expired);
            let attempt = not_sent(trigger, &webhook, now);
            return Err(Box::new(in_flight.end_leased(token, attempt, next, None)));
        }
        self.in_flight.insert(key, in_flight);
        Ok(Box::new(AttemptRequest { key, trigger, webhook, delivery, payload, started_at: now }))
    }

    /// Ends an attempt. `is_stopping` is true if the node's own stop may have cut it.
    pub(super) fn end(
        &mut self,
        key: AttemptKey,
        attempt: Attempt,
        lanes: &Lanes,
        is_stopping: bool,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) -> Option<Ended> {
        let in_flight = self.in_flight.remove(&key)?;
        let mut retry_until = self.config.retry.wait_asked(&attempt.outcome).map(|wait| now.after(wait));
        Some(match in_flight.requester {
            Requester::Queue { token, trigger } => {
                let (webhook, delivery) = (&in_flight.webhook, &in_flight.delivery.delivery);
                let next = self.next(trigger, delivery, webhook, &attempt.outcome, is_stopping, entropy, now);
                let next = if lanes.is_ordered(webhook.id) {
                    in_order(next, delivery, &attempt.outcome, &mut retry_until)
                } else {
                    next
                };
                in_flight.end_leased(token, attempt, next, retry_until)
            }
            Requester::Redelivery { ticket } => {
                let InFlight { webhook, mut delivery, permit, .. } = in_flight;
                if attempt.outcome.verdict() == Verdict::Success
                    && !matches!(delivery.delivery.state, State::Succeeded { .. })
                {
                    delivery.delivery.state = State::Succeeded { at: now };
                }
                let subject = AttemptSubject::Redelivery { delivery: delivery.delivery.id };
                let record = record(&webhook, attempt, retry_until, subject);
                let note = RecordNote::on_demand(webhook, ticket, delivery);
                Ended { record, note, permit, is_between: false }
            }
            Requester::Ping { ticket } => {
                let InFlight { webhook, delivery, permit, .. } = in_flight;
                let delivery = finished_ping(delivery, &attempt.outcome, now);
                let subject = AttemptSubject::Ping(Box::new(delivery.delivery.clone()));
                let record = record(&webhook, attempt, retry_until, subject);
                let note = RecordNote::on_demand(webhook, ticket, delivery);
                Ended { record, note, permit, is_between: false }
            }
        })
    }

    fn is_too_old(&self, delivery: &Delivery, webhook: &Webhook, now: Timestamp) -> bool {
        self.config.retry.is_expired(
            now,
            webhook.is_held(),
            delivery.armed_at(),
            webhook.health.hold_ended_at,
        )
    }

    /// Decides about a leased delivery by its schedule.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing; a struct would only rename them"
    )]
    fn next(
        &self,
        trigger: AttemptTrigger,
        delivery: &Delivery,
        webhook: &Webhook,
        outcome: &Outcome,
        is_stopping: bool,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) -> Next {
        if matches!(outcome, Outcome::Undeliverable { .. }) && self.is_too_old(delivery, webhook, now) {
            return Next::Failed(FailReason::Expired);
        }
        let State::Pending { due_at } = delivery.state else {
            return Next::Failed(FailReason::Undeliverable);
        };
        match (trigger, outcome) {
            // The node's own stop cut it: it is sent as soon as the node is back.
            (_, Outcome::OurFault { .. }) if is_stopping => Next::Retry { at: now, spent: false },
            (AttemptTrigger::Probe, _)
                if matches!(outcome.verdict(), Verdict::Failure | Verdict::Gone)
                    && is_repeatable(delivery.format, outcome) =>
            {
                Next::Retry { at: due_at, spent: false }
            }
            _ => self.config.retry.next(delivery, outcome, now, entropy.fraction()),
        }
    }
}

impl InFlight {
    /// Ends an attempt of the queue.
    fn end_leased(
        self,
        token: LeaseToken,
        attempt: Attempt,
        next: Next,
        retry_until: Option<Timestamp>,
    ) -> Ended {
        let Self { webhook, delivery: StoredDelivery { delivery, .. }, permit, .. } = self;
        let is_between = matches!(next, Next::Retry { .. }) && delivery.attempts_spent > 0;
        let subject = AttemptSubject::Leased { delivery: delivery.id, token, next };
        let record = record(&webhook, attempt, retry_until, subject);
        let note = RecordNote::of_next(webhook, delivery.id, next);
        Ended { record, note, permit, is_between }
    }
}

fn record(
    webhook: &Webhook,
    attempt: Attempt,
    retry_until: Option<Timestamp>,
    subject: AttemptSubject,
) -> AttemptRecord {
    AttemptRecord { webhook: webhook.id, revision: webhook.revision, attempt, retry_until, subject }
}

/// Keeps the place of a delivery whose webhook is sent to in order, in two cases: the failure was ours, or the endpoint
/// throttled it. A throttled delivery holds its webhook for the wait of the schedule, so that no later message overtakes it.
/// A delivery that failed by itself loses its place.
fn in_order(next: Next, delivery: &Delivery, outcome: &Outcome, retry_until: &mut Option<Timestamp>) -> Next {
    let (Next::Retry { at, spent }, State::Pending { due_at }) = (next, &delivery.state) else {
        return next;
    };
    let is_throttled = spent && (retry_until.is_some() || outcome.is_throttled());
    if spent && !is_throttled {
        return next;
    }
    if is_throttled {
        *retry_until = Some(at);
    }
    Next::Retry { at: at.min(*due_at), spent }
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
