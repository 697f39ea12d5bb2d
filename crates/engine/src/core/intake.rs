//! Publish, match, group commit, answer.

mod gathering;
mod preleased;

use std::collections::VecDeque;
use std::sync::Arc;

use stackbell_model::Timestamp;
use stackbell_model::event::Event;
use stackbell_model::ids::{BatchId, DeliveryId, LeaseToken, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{
    AttemptRecord, Batch, BatchOutcome, IntakeItem, IntakeOutcome, Lease, NewDelivery, NewEvent, Receipt,
};
use stackbell_store::queue::{HeldDelivery, LeasedDelivery};
use stackbell_store::webhooks::OrganizationWebhooks;

use super::Core;
use super::attempts::{RecordNote, record_bytes};
use super::backoff::Backoff;
use super::config::CoreConfig;
use super::intake_queue::{PendingIntake, parts};
use super::lane::Lane;
use super::matching::{Rendered, Snapshot, Standing};
use super::messages::{
    Authority, Command, CommitFault, CommitNumber, Publish, PublishRefusal, PublishTicket,
};
use super::permits::Tier;
use gathering::{Gathering, bytes_of};
use preleased::{Place, Reserved};

/// An outcome that waits for a commit.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) record: AttemptRecord,
    pub(super) note: RecordNote,
}

/// A commit under way. `reserved` has one entry for each leased delivery of the batch, in its order.
#[derive(Debug)]
pub(super) struct CommitInFlight {
    batch: Arc<Batch>,
    producers: Vec<Producer>,
    reserved: VecDeque<Reserved>,
    notes: Vec<RecordNote>,
    /// Deliveries of it that somebody found in the store and asked for again, before we hear that they are in.
    redelivered: Vec<DeliveryId>,
}

impl CommitInFlight {
    /// Takes note of a redelivery that is recorded.
    pub(super) fn note_redelivery(&mut self, delivery: DeliveryId) {
        let mut new = self.batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
        if new.any(|new| new.id == delivery) {
            self.redelivered.push(delivery);
        }
    }
}

/// Who waits for an item of a batch.
#[derive(Clone, Copy, Debug)]
struct Producer {
    ticket: PublishTicket,
    authority: Authority,
}

impl From<CommitFault> for PublishRefusal {
    fn from(fault: CommitFault) -> Self {
        match fault {
            CommitFault::Full => Self::Full,
            CommitFault::Unavailable | CommitFault::Unknown | CommitFault::Corrupt => Self::Unavailable,
        }
    }
}

impl Core {
    pub(super) fn publish(&mut self, publish: Publish, now: Timestamp, commands: &mut Vec<Command>) {
        let Publish { ticket, organization, authority, change, events } = publish;
        let parts = parts(change.as_deref(), &events);
        let refusal = if self.stopping {
            Some(PublishRefusal::Unavailable)
        } else if !self.intakes.has_room(organization, parts, self.config.waiting_events_max) {
            Some(PublishRefusal::Overloaded)
        } else {
            self.commit_backoff.holds(now).map(PublishRefusal::from)
        };
        match refusal {
            Some(refusal) => commands.push(Command::RespondPublish { ticket, response: Err(refusal) }),
            None => {
                self.intakes.push_back(PendingIntake { ticket, organization, authority, change, events });
            }
        }
    }

    pub(super) fn webhooks_loaded(
        &mut self,
        organization: OrganizationId,
        webhooks: Option<OrganizationWebhooks>,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        if self.outdated_loads.remove(&organization) {
            commands.push(Command::LoadWebhooks { organization });
        } else {
            self.loading.remove(&organization);
        }
        let Some(webhooks) = webhooks else {
            self.refuse_intakes(organization, PublishRefusal::NoOrganization, commands);
            return;
        };
        if self.snapshots.len() >= self.config.snapshots_max {
            // Rare, and cheap to mend: each organization is read again when its next event comes.
            self.snapshots.clear();
        }
        self.learn_edits(&webhooks.webhooks, now);
        self.snapshots.insert(organization, Arc::new(Snapshot::new(webhooks)));
        self.intakes.resume(organization);
    }

    pub(super) fn load_failed(&mut self, organization: OrganizationId, commands: &mut Vec<Command>) {
        self.loading.remove(&organization);
        self.outdated_loads.remove(&organization);
        self.refuse_intakes(organization, PublishRefusal::Unavailable, commands);
    }

    fn refuse_intakes(
        &mut self,
        organization: OrganizationId,
        refusal: PublishRefusal,
        commands: &mut Vec<Command>,
    ) {
        for intake in self.intakes.drain(organization) {
            commands.push(Command::RespondPublish { ticket: intake.ticket, response: Err(refusal) });
        }
    }

    pub(super) fn start_commits(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        while self.may_start_commit() && self.commit_backoff.holds(now).is_none() {
            let commit = self.gather(now, commands);
            if commit.batch.intakes.is_empty() && commit.batch.attempts.is_empty() {
                self.isolate = 0;
                return;
            }
            let number = self.next_commit_number();
            self.records_in_commit += commit.notes.len();
            commands.push(Command::Commit { number, batch: Arc::clone(&commit.batch) });
            self.commits.insert(number, commit);
        }
    }

    /// Beside another, only what is worth its cost to the store: little that waits is in the next batch soon enough.
    fn may_start_commit(&self) -> bool {
        let waiting = self.intakes.parts() + self.records.len();
        let least = if self.commits.is_empty() { 0 } else { self.config.batch_beside_min };
        self.commits.len() < self.config.commits_in_flight_max && waiting >= least
    }

    /// Takes what waits into one batch, matching events on the way.
    /// A lone producer's batch is its one event: nobody waits for company.
    fn gather(&mut self, now: Timestamp, commands: &mut Vec<Command>) -> CommitInFlight {
        let batch = Batch::new(BatchId::generate(&mut self.entropy), now);
        let mut gathering = Gathering::new(batch, self.new_lease(now));
        if self.isolate > 0 {
            self.isolate -= 1;
            self.gather_records(1, &mut gathering);
            if gathering.notes.is_empty() {
                self.gather_intakes(1, &mut gathering, commands);
            }
        } else {
            self.gather_intakes(self.config.batch_events_max, &mut gathering, commands);
            self.gather_records(self.config.batch_records_max, &mut gathering);
        }
        let Gathering { batch, producers, reserved, notes, .. } = gathering;
        CommitInFlight { batch: Arc::new(batch), producers, reserved, notes, redelivered: Vec::new() }
    }

    fn gather_intakes(&mut self, parts_max: usize, gathering: &mut Gathering, commands: &mut Vec<Command>) {
        while gathering.parts < parts_max
            && let Some(intake) = self.intakes.pop()
        {
            let Some(snapshot) = self.snapshots.get(&intake.organization).cloned() else {
                self.load(intake, commands);
                continue;
            };
            match snapshot.judge(intake.authority) {
                Standing::Holds => {}
                Standing::Unknown => {
                    self.snapshots.remove(&intake.organization);
                    self.load(intake, commands);
                    continue;
                }
                Standing::Outdated => {
                    let response = Err(PublishRefusal::Outdated);
                    commands.push(Command::RespondPublish { ticket: intake.ticket, response });
                    continue;
                }
            }
            let deliveries = intake.events.iter().map(|event| snapshot.listeners(event).count()).sum();
            let max = self.config.deliveries_in_publish_max;
            if deliveries > max {
                let response = Err(PublishRefusal::TooManyDeliveries { deliveries, max });
                commands.push(Command::RespondPublish { ticket: intake.ticket, response });
                continue;
            }
            if !gathering.has_room(deliveries, intake.bytes(), &self.config) {
                self.intakes.push_front(intake);
                return;
            }
            gathering.parts += intake.parts();
            gathering.deliveries += deliveries;
            gathering.producers.push(Producer { ticket: intake.ticket, authority: intake.authority });
            let item = self.match_intake(intake, &snapshot, gathering);
            gathering.batch.intakes.push(item);
        }
    }

    fn match_intake(
        &mut self,
        intake: PendingIntake,
        snapshot: &Snapshot,
        gathering: &mut Gathering,
    ) -> IntakeItem {
        let events: Vec<_> =
            intake.events.into_iter().map(|event| self.match_event(event, snapshot, gathering)).collect();
        gathering.bytes += events.iter().map(bytes_of).sum::<usize>();
        IntakeItem {
            organization: intake.organization,
            organization_version: snapshot.version,
            change: intake.change,
            events,
            quota: self.config.quota,
        }
    }

    /// Takes outcomes along, until they are many or large: producers wait for as long as the store takes with them.
    fn gather_records(&mut self, records_max: usize, gathering: &mut Gathering) {
        let mut bytes = 0;
        while gathering.notes.len() < records_max
            && (bytes == 0 || bytes < self.config.batch_record_bytes_max)
            && let Some(PendingRecord { mut record, note }) = self.records.pop_front()
        {
            bytes += record_bytes(&record);
            self.renew_lease_of(&mut record);
            gathering.batch.attempts.push(record);
            gathering.notes.push(note);
        }
    }

    fn load(&mut self, intake: PendingIntake, commands: &mut Vec<Command>) {
        let organization = intake.organization;
        self.intakes.pause(intake);
        if self.loading.insert(organization) {
            commands.push(Command::LoadWebhooks { organization });
        }
    }

    pub(super) fn new_lease(&mut self, now: Timestamp) -> Lease {
        let token = LeaseToken::generate(&mut self.entropy);
        Lease { token, until: now.after(self.config.lease_for) }
    }

    fn match_event(&mut self, event: Event, snapshot: &Snapshot, gathering: &mut Gathering) -> NewEvent {
        let now = gathering.batch.now;
        let mut deliveries = Vec::new();
        let mut rendered = Rendered::default();
        for webhook in snapshot.listeners(&event) {
            let body = rendered.body(webhook.format, &event, self.public_url.as_ref());
            let bytes = body.as_ref().unwrap_or(&event.payload).len();
            let reserved = self.reserve_for_new(webhook, bytes, now);
            deliveries.push(NewDelivery {
                id: DeliveryId::generate(now, &mut self.entropy),
                webhook: webhook.id,
                format: webhook.format,
                body,
                lease: reserved.is_some().then_some(gathering.lease),
            });
            let webhook = || Arc::clone(webhook);
            gathering.reserved.extend(reserved.map(|place| Reserved { place, webhook: webhook() }));
        }
        NewEvent { event, deliveries }
    }

    /// A permit, if the webhook's lane would send a new delivery at once; or a place, if it will soon.
    fn reserve_for_new(&mut self, webhook: &Webhook, bytes: usize, now: Timestamp) -> Option<Place> {
        if !self.may_send() {
            return None;
        }
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Lane::of(webhook, neighbours.share_of(webhook.id), config, now);
        let lane = self.lanes.entry(webhook.id).or_insert_with(new);
        if lane.takes_new(webhook, now)
            && let Some(permit) = self.permits.acquire(webhook.organization, lane.tier())
        {
            lane.attempt_begins();
            return Some(Place::Attempt(permit));
        }
        if !lane.takes_new_prefetched(webhook, bytes, now) {
            return None;
        }
        let place = self.places.acquire(webhook.organization, Tier::Quick)?;
        lane.promise(1);
        Some(Place::Prefetch { place, changes: lane.changes })
    }

    pub(super) fn committed(
        &mut self,
        number: CommitNumber,
        outcome: BatchOutcome,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let Some(commit) = self.commits.remove(&number) else { return };
        let CommitInFlight { batch, producers, mut reserved, notes, redelivered } = commit;
        debug_assert_eq!(outcome.intakes.len(), producers.len());
        debug_assert_eq!(outcome.attempts.len(), notes.len());
        self.sending_found(outcome.sending_held, now);
        for (webhook, health) in &outcome.held {
            if let Some(lane) = self.lanes.get_mut(webhook) {
                lane.learn_health(health, &self.config, now);
            }
        }
        self.commit_backoff = Backoff::default();
        self.records_in_commit -= notes.len();
        for ((item, outcome), producer) in batch.intakes.iter().zip(outcome.intakes).zip(producers) {
            let ticket = producer.ticket;
            let refusal = match outcome {
                IntakeOutcome::Accepted(receipts) => {
                    self.accepted(item, &receipts, &mut reserved, &redelivered, now, commands);
                    commands.push(Command::RespondPublish { ticket, response: Ok(receipts) });
                    continue;
                }
                IntakeOutcome::Stale => {
                    self.drop_reserved(item, &mut reserved, now);
                    self.match_again(item, producer);
                    continue;
                }
                IntakeOutcome::Conflict { index } => PublishRefusal::Conflict { index },
                IntakeOutcome::ChangeRefused => PublishRefusal::ChangeRefused,
                IntakeOutcome::EventsDropped(part) => PublishRefusal::EventsDropped(part),
                IntakeOutcome::OverQuota(part) => PublishRefusal::OverQuota(part),
            };
            self.drop_reserved(item, &mut reserved, now);
            commands.push(Command::RespondPublish { ticket, response: Err(refusal) });
        }
        for ((record, outcome), note) in batch.attempts.iter().zip(outcome.attempts).zip(notes) {
            self.recorded(record, outcome, note, now, commands);
        }
    }

    fn accepted(
        &mut self,
        item: &IntakeItem,
        receipts: &[Receipt],
        reserved: &mut VecDeque<Reserved>,
        redelivered: &[DeliveryId],
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        for (new, receipt) in item.events.iter().zip(receipts) {
            for delivery in &new.deliveries {
                let kept = delivery.lease.and_then(|lease| Some((lease, reserved.pop_front()?)));
                match kept {
                    Some((_, kept)) if receipt.duplicate => self.drop_one(kept, now),
                    // The commit took longer than the lease, or may have, as the clock was set back since; or its lane has to
                    // wait by now; or nothing new is begun any more.
                    Some((lease, kept))
                        if lease.until <= now
                            || self.leased_at(lease) > now
                            || self.must_hold_new(delivery.webhook, now)
                            || self.stopping =>
                    {
                        self.drop_one(kept, now);
                        self.note_due(item.organization, delivery.webhook, now, now);
                        let webhook = delivery.webhook;
                        self.give_back_one(HeldDelivery { webhook, delivery: delivery.id, lease });
                    }
                    // Sending was held meanwhile; or it was found in the store, by a search or by somebody who asked for it,
                    // before we heard that it is in.
                    Some((lease, kept))
                        if !self.may_begin()
                            || self.is_under_way(delivery.id)
                            || self.is_prefetched(delivery.webhook, delivery.id)
                            || redelivered.contains(&delivery.id) =>
                    {
                        self.drop_one(kept, now);
                        self.note_due(item.organization, delivery.webhook, lease.until, now);
                    }
                    Some((lease, kept)) => {
                        let payload = delivery.body.clone().unwrap_or_else(|| new.event.payload.clone());
                        let preleased =
                            LeasedDelivery { delivery: delivery.to_delivery(&new.event), payload };
                        self.begin_preleased(preleased, lease, kept, now, commands);
                    }
                    None if receipt.duplicate => {}
                    None => self.note_due(item.organization, delivery.webhook, now, now),
                }
            }
        }
    }

    fn must_hold_new(&self, webhook: WebhookId, now: Timestamp) -> bool {
        self.lanes.get(&webhook).is_some_and(|lane| lane.must_hold_new(now))
    }

    fn drop_reserved(&mut self, item: &IntakeItem, reserved: &mut VecDeque<Reserved>, now: Timestamp) {
        let leased = item.events.iter().flat_map(|new| &new.deliveries).filter(|d| d.lease.is_some()).count();
        for kept in reserved.drain(..leased.min(reserved.len())).collect::<Vec<_>>() {
            self.drop_one(kept, now);
        }
    }

    fn drop_one(&mut self, kept: Reserved, now: Timestamp) {
        let lane = self.lanes.get_mut(&kept.webhook.id);
        match kept.place {
            Place::Attempt(permit) => {
                self.permits.release_unspent(permit);
                lane.into_iter().for_each(Lane::attempt_dropped);
            }
            Place::Prefetch { place, .. } => {
                self.places.release(place);
                lane.into_iter().for_each(|lane| lane.keep_promise(1));
            }
        }
        self.reschedule(kept.webhook.id, now);
    }

    fn match_again(&mut self, item: &IntakeItem, producer: Producer) {
        let organization = item.organization;
        // Of several commits that were under way another may have found that out before.
        let is_stale = |known: &Arc<Snapshot>| known.version == item.organization_version;
        if self.snapshots.get(&organization).is_some_and(is_stale) {
            self.snapshots.remove(&organization);
        }
        self.intakes.push_front(pending(item, producer));
    }

    pub(super) fn commit_failed(
        &mut self,
        number: CommitNumber,
        fault: CommitFault,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let Some(commit) = self.commits.remove(&number) else { return };
        let CommitInFlight { batch, producers, reserved, mut notes, .. } = commit;
        self.records_in_commit -= notes.len();
        for kept in reserved {
            self.drop_one(kept, now);
        }
        let parts = producers.len() + notes.len();
        match fault {
            CommitFault::Corrupt if parts > 1 => {
                self.isolate = parts;
                for (item, producer) in batch.intakes.iter().zip(producers).rev() {
                    self.intakes.push_front(pending(item, producer));
                }
            }
            CommitFault::Corrupt => {
                refuse(producers, fault, commands);
                batch.attempts.iter().zip(notes.drain(..)).for_each(|(record, note)| {
                    self.give_up_record(record, note, now, commands);
                });
            }
            CommitFault::Unavailable | CommitFault::Full | CommitFault::Unknown => {
                self.commit_backoff.fail(now, fault);
                refuse(producers, fault, commands);
                notes.iter_mut().for_each(|note| note.refuse_waiting(commands));
            }
        }
        if fault == CommitFault::Unknown {
            self.search_lanes_now(now);
        }
        // What an endpoint answered must not be lost: it is recorded with a later commit.
        for (record, note) in batch.attempts.iter().cloned().zip(notes).rev() {
            self.records.push_front(PendingRecord { record, note });
        }
    }
}

fn refuse(producers: Vec<Producer>, fault: CommitFault, commands: &mut Vec<Command>) {
    let refusal = |Producer { ticket, .. }| Command::RespondPublish { ticket, response: Err(fault.into()) };
    commands.extend(producers.into_iter().map(refusal));
}

fn pending(item: &IntakeItem, Producer { ticket, authority }: Producer) -> PendingIntake {
    let events = item.events.iter().map(|new| new.event.clone()).collect();
    let change = item.change.clone();
    PendingIntake { ticket, organization: item.organization, authority, change, events }
}
