//! Outcomes of attempts, until they are known to be recorded.

use std::collections::VecDeque;
use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::delivery::State;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::retry::Next;
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::AttemptRecord;
use stackbell_store::history::{StoredAttempt, StoredDelivery};

use super::config::CoreConfig;
use super::messages::{Command, Notice, OnDemandRefusal, OnDemandTicket};

/// The work that follows once an outcome is recorded.
#[derive(Clone, Debug)]
pub(super) struct RecordNote {
    webhook: Arc<Webhook>,
    delivery: DeliveryId,
    /// When the delivery is due again.
    due_again: Option<Timestamp>,
    /// The caller who waits for it.
    waiting: Option<(OnDemandTicket, Box<StoredDelivery>)>,
}

impl RecordNote {
    /// For an attempt of the queue.
    pub(super) fn of_next(webhook: Arc<Webhook>, delivery: DeliveryId, next: Next) -> Self {
        let due_again = match next {
            Next::Succeeded | Next::Failed(_) => None,
            Next::Retry { at, .. } => Some(at),
        };
        Self { webhook, delivery, due_again, waiting: None }
    }

    /// For an attempt that a person asked for.
    pub(super) fn on_demand(webhook: Arc<Webhook>, ticket: OnDemandTicket, delivery: StoredDelivery) -> Self {
        let (id, waiting) = (delivery.delivery.id, Some((ticket, Box::new(delivery))));
        Self { webhook, delivery: id, due_again: None, waiting }
    }

    pub(super) fn organization(&self) -> OrganizationId {
        self.webhook.organization
    }

    pub(super) fn webhook(&self) -> WebhookId {
        self.webhook.id
    }

    pub(super) fn due_again(&self) -> Option<Timestamp> {
        self.due_again
    }

    /// The outcome is recorded. `ended` is the state of a delivery that came to its end with it.
    pub(super) fn tell_recorded(
        self,
        record: &AttemptRecord,
        ended: Option<State>,
        commands: &mut Vec<Command>,
    ) {
        let Self { webhook, delivery, waiting, .. } = self;
        commands
            .extend(ended.map(|state| Command::Note(Notice::Ended { webhook: webhook.id, delivery, state })));
        if let Some((ticket, delivery)) = waiting {
            let response = StoredAttempt { delivery: *delivery, attempt: record.attempt.clone() };
            commands.push(Command::RespondOnDemand { ticket, response: Ok(Box::new(response)) });
        }
    }

    /// The outcome came too late.
    pub(super) fn tell_superseded(self, commands: &mut Vec<Command>) {
        commands.push(Command::Note(Notice::Superseded { webhook: self.webhook.id }));
        if let Some((ticket, _)) = self.waiting {
            commands.push(Command::RespondOnDemand { ticket, response: Err(OnDemandRefusal::Gone) });
        }
    }

    /// The outcome is not recorded now: tells the caller who waits for it.
    pub(super) fn refuse_waiting(&mut self, commands: &mut Vec<Command>) {
        if let Some((ticket, _)) = self.waiting.take() {
            commands.push(Command::RespondOnDemand { ticket, response: Err(OnDemandRefusal::Unavailable) });
        }
    }
}

/// An outcome that waits for a commit.
#[derive(Debug)]
pub(super) struct PendingRecord {
    record: AttemptRecord,
    note: RecordNote,
}

impl PendingRecord {
    pub(super) fn record(&self) -> &AttemptRecord {
        &self.record
    }

    pub(super) fn into_parts(self) -> (AttemptRecord, RecordNote) {
        (self.record, self.note)
    }
}

/// All outcomes that are not known to be recorded.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// Those that wait for a commit, the oldest first.
    waiting: VecDeque<PendingRecord>,
    /// Those that came too late, perhaps because of a lease request of this node that is under way.
    superseded: Vec<PendingRecord>,
    /// The number of those that are part of a commit.
    in_commit: usize,
    /// The bytes of all.
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Outcomes {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            waiting: VecDeque::new(),
            superseded: Vec::new(),
            in_commit: 0,
            bytes: 0,
            count_max: config.unrecorded_max,
            bytes_max: config.unrecorded_bytes_max,
        }
    }

    /// An attempt has ended.
    pub(super) fn add(&mut self, record: AttemptRecord, note: RecordNote) {
        self.bytes += record_bytes(&record);
        self.waiting.push_back(PendingRecord { record, note });
    }

    /// Takes the oldest outcome for a commit.
    pub(super) fn take_for_commit(&mut self) -> Option<(AttemptRecord, RecordNote)> {
        let PendingRecord { record, note } = self.waiting.pop_front()?;
        self.in_commit += 1;
        Some((record, note))
    }

    /// A commit with so many outcomes has ended.
    pub(super) fn commit_ended(&mut self, count: usize) {
        self.in_commit -= count;
    }

    /// Puts an outcome of a failed commit before all others.
    pub(super) fn put_back(&mut self, record: AttemptRecord, note: RecordNote) {
        self.waiting.push_front(PendingRecord { record, note });
    }

    /// Keeps an outcome that came too late, until the lease request that is under way has its response.
    pub(super) fn keep_superseded(&mut self, record: AttemptRecord, note: RecordNote) {
        self.superseded.push(PendingRecord { record, note });
    }

    pub(super) fn take_superseded(&mut self) -> Vec<PendingRecord> {
        std::mem::take(&mut self.superseded)
    }

    /// An outcome that came too late waits for a commit again.
    pub(super) fn add_again(&mut self, pending: PendingRecord) {
        self.waiting.push_back(pending);
    }

    /// An outcome is recorded, or never will be.
    pub(super) fn forget(&mut self, record: &AttemptRecord) {
        self.bytes -= record_bytes(record);
    }

    /// The number of outcomes that wait for a commit.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of outcomes that are not known to be recorded.
    pub(super) fn unrecorded(&self) -> usize {
        self.waiting.len() + self.in_commit + self.superseded.len()
    }

    /// True if nothing waits, except in commits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.superseded.is_empty()
    }

    /// True if there are so many that nothing new is sent: each outcome holds a response body.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.len() + self.in_commit >= self.count_max || self.bytes >= self.bytes_max
    }
}

/// About the memory of an outcome.
pub(super) fn record_bytes(record: &AttemptRecord) -> usize {
    const REST: usize = 512;
    record
        .attempt
        .outcome
        .response()
        .map_or(REST, |response| response.body.len() + response.headers.len() + REST)
}
