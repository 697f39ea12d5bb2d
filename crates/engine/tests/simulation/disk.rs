//! The store: executes the commands of nodes, and reports the results to them. A new command for the store needs an arm in
//! [`World::store_does`], and its failure one in [`failed`].

use std::collections::HashMap;
use std::sync::Arc;

use stackbell_engine::core::{Command, CommitFault, Input};
use stackbell_model::delivery::Verdict;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_model::retry::Next;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::Webhook;
use stackbell_model::{Timestamp, retry::RetryPolicy};
use stackbell_store::commit::{
    AttemptOutcome, AttemptRecord, AttemptSubject, Batch, BatchOutcome, Commit, IntakeItem, IntakeOutcome,
    Lease, Receipt,
};
use stackbell_store::instance::Instance;
use stackbell_store::queue::{LaneRequest, Leased, Queue};
use stackbell_store::webhooks::Webhooks;

use crate::endpoints::Key;
use crate::node::Asked;
use crate::operations::StoreFate;
use crate::tally::Met;
use crate::world::{Given, World, now};

/// The end of a suspension, which no time ends.
const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The webhooks that must receive an event, and their revisions, in the same order.
type Hearers = (Vec<WebhookId>, Vec<u64>);

impl World {
    pub(super) fn store_step(&mut self, n: usize, which: usize, fate: StoreFate) {
        let disk = &mut self.nodes[n].disk;
        if disk.is_empty() {
            return;
        }
        let asked = disk.remove(which % disk.len());
        self.note_fate(&asked.command, fate);
        let input = match fate {
            StoreFate::Done => self.store_does(n, &asked),
            StoreFate::HeardLater => {
                let input = self.store_does(n, &asked);
                self.nodes[n].mail.push(input.into());
                return;
            }
            StoreFate::Full => failed(&asked.command, CommitFault::Full),
            StoreFate::Corrupt => failed(&asked.command, CommitFault::Corrupt),
            StoreFate::FailsBefore => failed(&asked.command, CommitFault::Unavailable),
            StoreFate::FailsAfter => {
                if let Input::Leased(leased) = self.store_does(n, &asked) {
                    let leased = leased.lanes.iter().flat_map(|lane| &lane.deliveries);
                    let keys = leased.map(|leased| (leased.delivery.webhook, leased.delivery.event_id));
                    keys.for_each(|key| self.lose_lease(key));
                }
                failed(&asked.command, CommitFault::Unknown)
            }
        };
        self.tell(n, input.into());
    }

    fn note_fate(&mut self, command: &Command, fate: StoreFate) {
        let met = match (command, fate) {
            (_, StoreFate::HeardLater) => Met::HeardLater,
            (Command::Commit { .. }, StoreFate::Done) => Met::CommitDone,
            (Command::Commit { .. }, StoreFate::FailsBefore) => Met::CommitFailedBefore,
            (Command::Commit { .. }, StoreFate::FailsAfter) => Met::CommitFailedAfter,
            (Command::Commit { .. }, StoreFate::Full) => Met::CommitFull,
            (Command::Commit { .. }, StoreFate::Corrupt) => Met::CommitCorrupt,
            (Command::Lease { .. }, StoreFate::Done) => Met::LeaseDone,
            (Command::Lease { .. }, StoreFate::FailsBefore | StoreFate::Full) => Met::LeaseFailedBefore,
            (Command::Lease { .. }, StoreFate::FailsAfter) => Met::LeaseFailedAfter,
            (Command::Lease { .. }, StoreFate::Corrupt) => Met::LeaseCorrupt,
            (_, StoreFate::Done) => return,
            (_, StoreFate::FailsBefore | StoreFate::FailsAfter | StoreFate::Full | StoreFate::Corrupt) => {
                Met::OtherRequestFailed
            }
        };
        self.tally.note(met);
    }

    pub(super) fn store_does(&mut self, n: usize, asked: &Asked) -> Input {
        match &asked.command {
            Command::LoadWebhooks { organization } => Input::WebhooksLoaded {
                organization: *organization,
                webhooks: now(self.store.organization_webhooks(*organization)).expect("the store works"),
            },
            Command::Commit { number, batch } => {
                Input::Committed { number: *number, outcome: self.commit(n, asked, batch) }
            }
            Command::Lease { lanes, lease } => Input::Leased(self.lease(n, asked, lanes, *lease)),
            Command::Release { held } => {
                now(self.store.release_deliveries(held)).expect("the store works");
                Input::Released { held: held.clone(), done: true }
            }
            Command::FindLanes { after, limit } => Input::LanesFound {
                lanes: now(self.store.due_lanes(*after, *limit)).expect("the store works"),
            },
            Command::ReadSendingHold => {
                Input::SendingRead { hold: now(self.store.sending_hold()).expect("the store works") }
            }
            other => unreachable!("not for the store: {other:?}"),
        }
    }

    fn lease(&mut self, n: usize, asked: &Asked, lanes: &[LaneRequest], lease: Lease) -> Leased {
        let answer = now(self.store.lease_deliveries(lanes, asked.at, lease)).expect("the store works");
        for lane in &answer.lanes {
            let Some(webhook) = &lane.webhook else { continue };
            for leased in &lane.deliveries {
                let key = (webhook.id, leased.delivery.event_id);
                let as_known = (webhook.revision, leased.delivery.rearmed_at, None);
                self.give(n, asked, leased.delivery.id, key, lease, as_known);
            }
        }
        answer
    }

    /// Records that a node has the lease of a delivery, with the webhook's revision, the delivery's last rearming, and the end of
    /// the webhook's hold.
    fn give(
        &mut self,
        n: usize,
        asked: &Asked,
        id: DeliveryId,
        key: Key,
        lease: Lease,
        (revision, rearmed_at, held_until): (u64, Option<Timestamp>, Option<Timestamp>),
    ) {
        self.keys.insert(id, key);
        let life = self.nodes[n].life;
        let until = if self.is_shared { self.time.after(lease.until.since(asked.at)) } else { lease.until };
        let cap = asked.caps.iter().find(|(webhook, _)| *webhook == key.0).map_or(1, |(_, cap)| *cap);
        let step = self.endpoints.next_step();
        let given =
            Given { until, step, asked_step: asked.step, life, rearmed_at, cap, revision, held_until };
        let earlier = self.given.entry(id).or_default();
        let passes_on = earlier.last().is_some_and(|last| last.life != life);
        let from_the_living =
            earlier.last().is_some_and(|last| self.nodes.iter().any(|node| node.life == last.life));
        earlier.push(given);
        if passes_on {
            self.lose_lease(key);
            if from_the_living {
                self.tally.note(Met::LeaseStolen);
            }
        }
    }

    /// Records that the holder of a delivery's lease has lost it.
    pub(super) fn lose_lease(&mut self, key: Key) {
        let step = self.endpoints.next_step();
        self.lost.entry(key).or_default().push(step);
    }

    fn commit(&mut self, n: usize, asked: &Asked, batch: &Arc<Batch>) -> BatchOutcome {
        let hear: Vec<_> = batch.intakes.iter().map(|item| self.who_hears(item)).collect();
        let new = batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
        let held_until = |id: WebhookId| {
            let health = self.find_webhook(id)?.health;
            if health.suspension.is_some() { Some(FOREVER) } else { health.waits_until(batch.now) }
        };
        let held: HashMap<_, _> = new
            .filter(|_| self.is_shared)
            .filter_map(|new| Some((new.webhook, held_until(new.webhook)?)))
            .collect();
        let outcome = now(self.store.commit(Arc::clone(batch))).expect("the store works");
        for ((item, outcome), hear) in batch.intakes.iter().zip(&outcome.intakes).zip(hear) {
            self.check_change(item, outcome);
            if let IntakeOutcome::Accepted(receipts) = outcome {
                self.accepted(n, asked, item, receipts, (&hear, &held));
            }
        }
        for (record, outcome) in batch.attempts.iter().zip(&outcome.attempts) {
            self.recorded(n, record, outcome);
        }
        outcome
    }

    /// Invariants 1 and 10: an event gets a delivery for exactly the webhooks that must receive it, by the store's current
    /// state.
    fn accepted(
        &mut self,
        n: usize,
        asked: &Asked,
        item: &IntakeItem,
        receipts: &[Receipt],
        (hear, held): (&[Hearers], &HashMap<WebhookId, Timestamp>),
    ) {
        for ((new, receipt), (hear, revisions)) in item.events.iter().zip(receipts).zip(hear) {
            self.accepted_as_of.entry(receipt.id).or_default().push(item.organization_version);
            if receipt.duplicate {
                continue;
            }
            let mut found: Vec<_> = new.deliveries.iter().map(|new| new.webhook).collect();
            found.sort_unstable();
            assert_eq!(&found, hear, "invariant 10: matched by webhooks that are others now");
            for new in &new.deliveries {
                let key = (new.webhook, receipt.id);
                let revision = hear.iter().zip(revisions).find(|(id, _)| **id == new.webhook);
                let revision = revision.map_or(0, |(_, revision)| *revision);
                match new.lease {
                    Some(lease) => {
                        self.give(
                            n,
                            asked,
                            new.id,
                            key,
                            lease,
                            (revision, None, held.get(&new.webhook).copied()),
                        );
                    }
                    None => drop(self.keys.insert(new.id, key)),
                }
            }
            self.expected.insert(receipt.id, found);
        }
    }

    /// A wait that was requested before the last edit of its webhook is void once the attempt is recorded.
    fn forget_outdated_wait(&mut self, n: usize, record: &AttemptRecord) {
        let is_outdated =
            self.find_webhook(record.webhook).is_some_and(|webhook| record.revision < webhook.revision);
        let asked = &mut self.nodes[n].asked;
        if is_outdated
            && asked.get(&record.webhook).is_some_and(|(until, _)| Some(*until) == record.retry_until)
        {
            asked.remove(&record.webhook);
        }
    }

    fn recorded(&mut self, n: usize, record: &AttemptRecord, outcome: &AttemptOutcome) {
        let is_recorded = matches!(outcome, AttemptOutcome::Recorded { .. });
        if let AttemptOutcome::Recorded { health, .. } = outcome
            && health.suspension.is_some()
        {
            self.tally.note(Met::Suspended);
        }
        if is_recorded && record.retry_until.is_some() {
            self.tally.note(Met::AskedToWait);
            self.forget_outdated_wait(n, record);
        }
        if !is_recorded {
            self.tally.note(Met::OutcomeSuperseded);
        }
        let key = match &record.subject {
            AttemptSubject::Leased { delivery, .. } | AttemptSubject::Redelivery { delivery } => {
                self.keys.get(delivery).copied()
            }
            AttemptSubject::Ping(delivery) => Some((record.webhook, delivery.event_id)),
        };
        let Some(key) = key else { return };
        if let AttemptSubject::Redelivery { .. } = record.subject
            && is_recorded
            && record.attempt.outcome.verdict() == Verdict::Success
        {
            // The delivery has ended, whichever node has its lease.
            self.touch(key);
        }
        let (life, set_back_step) = (self.nodes[n].life, self.nodes[n].set_back_step);
        let Some(sent) = self.endpoints.untold(key, life, &record.attempt) else { return };
        sent.told = Some(is_recorded);
        if let AttemptSubject::Leased { next: Next::Retry { at, spent: true }, .. } = record.subject
            && set_back_step < sent.sent_step
        {
            let wait = RetryPolicy::default().waits[sent.spent as usize];
            // A throttled message that keeps its place is due before its webhook may send again.
            let not_before = record.retry_until.map_or(at, |until| at.max(until));
            assert!(
                not_before.since(sent.started_at) >= wait,
                "Retry: again after less than {wait:?}: {sent:?}"
            );
        }
    }

    /// The webhooks that must receive each event of an item, by the store's current state, with their revisions, in order.
    fn who_hears(&self, item: &IntakeItem) -> Vec<Hearers> {
        let all = now(self.store.organization_webhooks(item.organization)).expect("the store works");
        let mut webhooks = all.expect("the organization is there").webhooks;
        webhooks.sort_unstable_by_key(|webhook| webhook.id);
        let who = |subject: &Subject| {
            let hears = |webhook: &&Webhook| webhook.active && webhook.scope.reaches(subject);
            webhooks.iter().filter(hears).map(|webhook| (webhook.id, webhook.revision)).unzip()
        };
        item.events.iter().map(|new| who(&new.event.subject)).collect()
    }

    /// The time by which the leases of a node are judged.
    pub(super) fn lease_now(&self, n: usize) -> Timestamp {
        if self.is_shared { self.time } else { self.clock(n) }
    }
}

fn failed(command: &Command, fault: CommitFault) -> Input {
    match command {
        Command::LoadWebhooks { organization } => Input::LoadFailed { organization: *organization },
        Command::Commit { number, .. } => Input::CommitFailed { number: *number, fault },
        Command::Lease { .. } => Input::LeaseFailed { corrupt: fault == CommitFault::Corrupt },
        Command::Release { held } => Input::Released { held: held.clone(), done: false },
        Command::FindLanes { .. } => Input::LanesNotFound,
        Command::ReadSendingHold => Input::SendingNotRead,
        other => unreachable!("not for the store: {other:?}"),
    }
}
