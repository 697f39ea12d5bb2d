//! The engine as a pure state machine: [`Input`]s in, [`Command`]s out.
//!
//! The core does no IO, reads no clock and starts no task: [`crate::shell`] executes commands and reports their results.
//! The simulation runs the same core under failed commits, lost responses and killed nodes.
//!
//! All state of the core may be lost at any moment, because the store holds everything that matters. The core knows which lanes
//! have due deliveries, which permits are taken, and which records are on their way to a commit.
//!
//! [`Core`] passes inputs to its parts, and to other parts what a part has for them. No part knows the core.
//!
//! - `intake`, with `intake_queue`, `snapshots`, `matching`: events wait, match and join a batch
//! - `commits`: batches under way, and `backoff` after a failure of the store
//! - `dispatch`: deliveries from their lease to the record of their outcome, with
//!   - `lanes`: each webhook's sending (`lane`, with `pacer` and `breaker`), under the limits of the node and of each
//!     organization (`permits`, `round_robin`, `slow_start`), as part of what all nodes send (`rendezvous`)
//!   - `leasing`, `prefetch`, `preleased`: leases of due deliveries, also early
//!   - `attempts`, `in_progress`, `outcomes`: attempts, and their outcomes until they are recorded
//!   - `sending`: the hold of all sending
//! - `on_demand`: pings and redeliveries that wait
//! - `lanes_search`: the search for due deliveries that this node does not know of
//! - `waits`: why pending deliveries are not sent now

mod attempts;
mod backoff;
mod breaker;
mod commits;
mod config;
mod dispatch;
mod in_progress;
mod intake;
mod intake_queue;
mod lane;
mod lanes;
mod lanes_search;
mod leasing;
mod matching;
mod messages;
mod on_demand;
mod outcomes;
mod pacer;
mod permits;
mod prefetch;
mod preleased;
mod rendezvous;
mod requester;
mod round_robin;
mod sending;
mod slow_start;
mod snapshots;
mod waits;

use std::sync::Arc;

use stackbell_model::health::Health;
use stackbell_model::ids::{BatchId, DeliveryId, OrganizationId, WebhookId};
use stackbell_model::{Entropy, Ordered, Timestamp};
use stackbell_store::commit::{BatchOutcome, IntakeOutcome};
use stackbell_store::maintenance::LaneDepth;
use stackbell_store::queue::LaneDue;
use url::Url;

pub use breaker::{OpenBreaker, OpenBreakers};
pub use config::CoreConfig;
pub use messages::{
    AttemptKey, AttemptRequest, Authority, Command, CommitFault, CommitNumber, Input, Notice, OnDemand,
    OnDemandRefusal, OnDemandTicket, Publish, PublishRefusal, PublishTicket, SendNow,
};
pub use rendezvous::Neighbours;
pub use waits::{LaneView, LaneWait, Waits, hold_of};

use backoff::Recording;
use commits::{Commits, Gathering};
use dispatch::Dispatch;
use intake::Intake;
use lanes_search::LanesSearch;
use on_demand::OnDemandQueue;

/// The machine. Drive it with [`Core::handle`] for each input and one [`Core::flush`] after a burst of them.
pub struct Core {
    config: Arc<CoreConfig>,
    entropy: Ordered,
    intake: Intake,
    commits: Commits,
    dispatch: Dispatch,
    on_demand: OnDemandQueue,
    search: LanesSearch,
}

impl Core {
    /// A machine that knows nothing yet: its first flush asks for the lanes that have something pending. It sends no delivery
    /// of the queue before it knows its neighbours.
    /// `public_url` is the base of links in messages.
    pub fn new(
        config: CoreConfig,
        neighbours: Neighbours,
        public_url: Option<Url>,
        entropy: Box<dyn Entropy>,
        now: Timestamp,
    ) -> Self {
        let config = Arc::new(config);
        Self {
            entropy: Ordered::new(entropy),
            intake: Intake::new(Arc::clone(&config), public_url),
            commits: Commits::new(&config),
            dispatch: Dispatch::new(&config, neighbours, now),
            on_demand: OnDemandQueue::new(&config),
            search: LanesSearch::new(&config, now),
            config,
        }
    }

    /// Takes in an input. Commits, leases and wake-ups wait for [`Core::flush`].
    pub fn handle(&mut self, input: Input, now: Timestamp, commands: &mut Vec<Command>) {
        match input {
            Input::Publish(publish) => self.publish(publish, now, commands),
            Input::WebhooksLoaded { organization, webhooks } => {
                if let Some(webhooks) = &webhooks {
                    self.dispatch.lanes_mut().learn_edits(&webhooks.webhooks, now);
                }
                self.intake.webhooks_loaded(organization, webhooks, commands);
            }
            Input::LoadFailed { organization } => self.intake.load_failed(organization, commands),
            Input::WebhookChanged { organization, webhook } => {
                self.webhook_changed(organization, webhook, now, commands);
            }
            Input::WebhookSetGoing { organization, webhook } => {
                self.dispatch.note_set_going(organization, webhook, now);
                self.webhook_changed(organization, webhook, now, commands);
            }
            Input::Committed { number, outcome } => self.committed(number, outcome, now, commands),
            Input::CommitFailed { number, fault } => self.commit_failed(number, fault, now, commands),
            Input::Leased(leased) => {
                self.dispatch.leased(leased, now, commands);
                self.note_redeliveries();
            }
            Input::LeaseFailed { corrupt } => {
                self.dispatch.lease_failed(corrupt, now, commands);
                self.note_redeliveries();
            }
            Input::LanesFound { lanes } => self.lanes_found(&lanes, now),
            Input::LanesNotFound => self.search.not_found(now),
            Input::AttemptEnded { key, attempt } => {
                self.dispatch.attempt_ended(key, *attempt, &mut self.entropy, now);
            }
            Input::OnDemand { ticket, request } => self.on_demand(ticket, request, now, commands),
            Input::Released { held, done } => self.dispatch.released(&held, done, now),
            Input::LaneChanged { organization, webhook } => {
                self.dispatch.give_back_changed(webhook);
                self.dispatch.lanes_mut().note_due(organization, webhook, now, now);
            }
            Input::SendNow { organization, webhook, which } => {
                self.dispatch.give_back_changed(webhook);
                self.dispatch.lanes_mut().send_now(organization, webhook, which, now);
            }
            Input::SendingChanged => self.dispatch.sending_mut().changed(now),
            Input::SendingRead { hold } => commands.extend(self.dispatch.sending_read(hold, now)),
            Input::SendingNotRead => self.dispatch.sending_mut().not_read(now),
            Input::NodesSeen { nodes } => self.dispatch.lanes_mut().learn_nodes(nodes, now),
            Input::WokenUp => self.search.woken_up(now),
            Input::Stop => self.stop(commands),
            Input::Tick => {}
        }
    }

    /// Starts everything that the inputs since the last flush made possible, and says when to come back.
    pub fn flush(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        self.dispatch.lanes_mut().tell(now);
        commands.extend(self.dispatch.start_sending_read(now));
        self.dispatch.lanes_mut().queue_due(now);
        self.start_on_demand(now, commands);
        // Lanes without prefetched deliveries come first, so that the others cannot keep all permits among themselves. New
        // deliveries then take permits that nobody waits for. The second lease is for lanes that became ready meanwhile.
        self.start_lease(now, commands);
        self.dispatch.start_prefetched(self.recording(now), now, commands);
        self.start_commits(now, commands);
        self.start_lease(now, commands);
        commands.extend(self.dispatch.start_release());
        if !self.dispatch.is_stopping() {
            commands.extend(self.search.start(now));
        }
        commands.extend(self.wake_at(now).map(Command::WakeAt));
    }

    /// True if nothing is under way: no attempt, no commit, no waiting caller. Pending deliveries in the store do not count.
    pub fn is_idle(&self) -> bool {
        self.dispatch.is_idle()
            && self.on_demand.is_empty()
            && self.intake.is_empty()
            && self.commits.is_empty()
    }

    /// The number of attempts in flight.
    pub fn attempts_in_flight(&self) -> usize {
        self.dispatch.attempts_in_flight()
    }

    /// The number of outcomes that are not known to be recorded.
    pub fn unrecorded(&self) -> usize {
        self.dispatch.outcomes().unrecorded()
    }

    /// True if an attempt of the delivery is in flight, or if its outcome is not known to be recorded.
    pub fn is_under_way(&self, delivery: DeliveryId) -> bool {
        self.dispatch.in_progress().contains(delivery)
    }

    /// Sorts the pending deliveries of these webhooks by the reason for their wait. Costs a lookup for each.
    pub fn waits(&mut self, depths: &[LaneDepth], now: Timestamp) -> Waits {
        let is_held = self.dispatch.is_sending_held();
        self.dispatch.lanes_mut().waits(depths, is_held, now)
    }

    /// One webhook's sending. `health` is the webhook's health in the store.
    pub fn lane_view(&mut self, webhook: WebhookId, health: &Health, now: Timestamp) -> LaneView {
        let is_held = self.dispatch.is_sending_held();
        self.dispatch.lanes_mut().view(webhook, health, is_held, now)
    }

    /// Counts the open breakers of this node. Looks at all lanes.
    pub fn open_breakers(&self) -> OpenBreakers {
        self.dispatch.lanes().open_breakers()
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let commit = self.commits.wake_at(now);
        if self.dispatch.is_stopping() {
            // Nothing else begins. Its due times would have the core come back at once, for ever.
            return commit;
        }
        let (dispatch, request, search) =
            (self.dispatch.wake_at(), self.on_demand.wake_at(), self.search.wake_at(now));
        [commit, dispatch, request, search].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// Begins no new work from here on. Work under way ends and is recorded.
    fn stop(&mut self, commands: &mut Vec<Command>) {
        self.dispatch.stop();
        self.on_demand.refuse(OnDemandRefusal::Unavailable, commands, |_| true);
    }

    fn publish(&mut self, publish: Publish, now: Timestamp, commands: &mut Vec<Command>) {
        if self.dispatch.is_stopping() {
            let (ticket, response) = (publish.ticket, Err(PublishRefusal::Unavailable));
            commands.push(Command::RespondPublish { ticket, response });
        } else {
            self.intake.publish(publish, self.commits.fault(now), commands);
        }
    }

    fn on_demand(
        &mut self,
        ticket: OnDemandTicket,
        request: OnDemand,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let added = if self.dispatch.is_stopping() {
            Err(OnDemandRefusal::Unavailable)
        } else {
            self.on_demand.add(ticket, request, now)
        };
        if let Err(refusal) = added {
            commands.push(Command::RespondOnDemand { ticket, response: Err(refusal) });
        }
    }

    /// Starts every ping and redelivery that gets a permit.
    fn start_on_demand(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.dispatch.outcomes().is_behind() || self.commits.fault(now).is_some() {
            self.on_demand.refuse(OnDemandRefusal::Unavailable, commands, |_| true);
        }
        self.on_demand.refuse_late(now, commands);
        if self.commits.recording(!self.commits.is_empty(), now) == Recording::Fails {
            return;
        }
        for _ in 0..self.on_demand.len() {
            let Some(waiting) = self.on_demand.pop() else { return };
            let refused = self.dispatch.start_on_demand(waiting, &mut self.entropy, now, commands);
            refused.into_iter().for_each(|waiting| self.on_demand.put_back(waiting));
        }
    }

    fn webhook_changed(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.intake.forget_snapshot(organization);
        self.on_demand
            .refuse(OnDemandRefusal::Changed, commands, |waiting| waiting.request().webhook().id == webhook);
        if self.dispatch.webhook_changed(webhook, now) {
            commands.extend(self.intake.load_edited(organization));
        }
    }

    fn lanes_found(&mut self, lanes: &[LaneDue], now: Timestamp) {
        self.dispatch.lanes_mut().found(lanes, now);
        self.search.found(lanes, now);
    }

    fn start_lease(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        commands.extend(self.dispatch.start_lease(self.recording(now), &mut self.entropy, now));
    }

    /// Whether outcomes can be recorded now.
    fn recording(&self, now: Timestamp) -> Recording {
        let is_trying = self.dispatch.has_outcomes() || !self.intake.is_empty() || !self.commits.is_empty();
        self.commits.recording(is_trying, now)
    }

    fn start_commits(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        while self.commits.may_begin(self.intake.parts() + self.dispatch.outcomes().waiting(), now) {
            let gathering = self.gather(now, commands);
            match self.commits.begin(gathering) {
                Some(command) => commands.push(command),
                None => return,
            }
        }
    }

    /// Puts a batch together from waiting events and outcomes.
    fn gather(&mut self, now: Timestamp, commands: &mut Vec<Command>) -> Gathering {
        let id = BatchId::generate(&mut self.entropy);
        let mut gathering = Gathering::new(id, self.config.new_lease(now, &mut self.entropy), now);
        if self.commits.take_isolated() {
            self.dispatch.gather_outcomes(1, &mut gathering);
            if gathering.records() == 0 {
                self.gather_events(1, &mut gathering, commands);
            }
        } else {
            self.gather_events(self.config.batch_events_max, &mut gathering, commands);
            self.dispatch.gather_outcomes(self.config.batch_records_max, &mut gathering);
        }
        gathering
    }

    fn gather_events(&mut self, parts_max: usize, gathering: &mut Gathering, commands: &mut Vec<Command>) {
        let dispatch = &mut self.dispatch;
        self.intake.gather(
            parts_max,
            gathering,
            &mut self.entropy,
            |webhook, bytes, now| dispatch.reserve(webhook, bytes, now),
            commands,
        );
    }

    fn committed(
        &mut self,
        number: CommitNumber,
        outcome: BatchOutcome,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let Some(commit) = self.commits.end(number) else { return };
        let (batch, producers, mut reservations, notes) = commit.into_parts();
        debug_assert_eq!(outcome.intakes.len(), producers.len());
        debug_assert_eq!(outcome.attempts.len(), notes.len());
        self.dispatch.sending_mut().found(outcome.sending_held, now);
        self.dispatch.lanes_mut().learn_held(&outcome.held, now);
        self.commits.succeeded();
        self.dispatch.outcomes_mut().commit_ended(notes.len());
        for ((item, outcome), producer) in batch.intakes.iter().zip(outcome.intakes).zip(producers) {
            let refusal = match outcome {
                IntakeOutcome::Accepted(receipts) => {
                    self.dispatch.accepted(item, &receipts, &mut reservations, now, commands);
                    let (ticket, response) = (producer.ticket, Ok(receipts));
                    commands.push(Command::RespondPublish { ticket, response });
                    continue;
                }
                IntakeOutcome::Stale => None,
                IntakeOutcome::Conflict { index } => Some(PublishRefusal::Conflict { index }),
                IntakeOutcome::ChangeRefused => Some(PublishRefusal::ChangeRefused),
                IntakeOutcome::EventsDropped(part) => Some(PublishRefusal::EventsDropped(part)),
                IntakeOutcome::OverQuota(part) => Some(PublishRefusal::OverQuota(part)),
            };
            for reserved in reservations.take_of(item) {
                self.dispatch.drop_reserved(reserved, now);
            }
            match refusal {
                Some(refusal) => commands.push(producer.refuse(refusal)),
                None => self.intake.match_again(item, producer),
            }
        }
        for ((record, outcome), note) in batch.attempts.iter().zip(outcome.attempts).zip(notes) {
            // The snapshot has the webhook's old health. The version of the organization stays, because nobody edited it.
            let changed = self.dispatch.recorded(record, outcome, note, now, commands);
            changed.into_iter().for_each(|organization| self.intake.forget_snapshot(organization));
        }
        self.note_redeliveries();
    }

    fn commit_failed(
        &mut self,
        number: CommitNumber,
        fault: CommitFault,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let Some(commit) = self.commits.end(number) else { return };
        let (batch, producers, mut reservations, mut notes) = commit.into_parts();
        self.dispatch.outcomes_mut().commit_ended(notes.len());
        for reserved in reservations.take_all() {
            self.dispatch.drop_reserved(reserved, now);
        }
        let parts = producers.len() + notes.len();
        match fault {
            CommitFault::Corrupt if parts > 1 => {
                self.commits.isolate(parts);
                for (item, producer) in batch.intakes.iter().zip(producers).rev() {
                    self.intake.put_back(item, producer);
                }
            }
            CommitFault::Corrupt => {
                commands.extend(producers.into_iter().map(|producer| producer.refuse(fault.into())));
                for (record, note) in batch.attempts.iter().zip(notes.drain(..)) {
                    self.dispatch.give_up_record(record, note, now, commands);
                }
                self.note_redeliveries();
            }
            CommitFault::Unavailable | CommitFault::Full | CommitFault::Unknown => {
                self.commits.failed(fault, now);
                commands.extend(producers.into_iter().map(|producer| producer.refuse(fault.into())));
                notes.iter_mut().for_each(|note| note.refuse_waiting(commands));
            }
        }
        if fault == CommitFault::Unknown {
            self.search.want(now);
        }
        // The response of an endpoint must not be lost: a later commit records it.
        for (record, note) in batch.attempts.iter().cloned().zip(notes).rev() {
            self.dispatch.outcomes_mut().put_back(record, note);
        }
    }

    /// Commits under way learn of redeliveries that ended.
    fn note_redeliveries(&mut self) {
        for delivery in self.dispatch.take_redelivered() {
            self.commits.note_redelivery(delivery);
        }
    }
}
