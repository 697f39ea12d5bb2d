//! Deliveries from their lease to the record of their outcome.
//!
//! [`Dispatch`] holds the parts that send, and passes between them what one part has for another.

mod outcomes;
mod preleased;

use std::sync::Arc;

use stackbell_model::delivery::{Attempt, Delivery, State, Trigger};
use stackbell_model::ids::{DeliveryId, EventId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_model::{Entropy, Timestamp};
use stackbell_payload::ping;
use stackbell_store::commit::Lease;
use stackbell_store::instance::SendingHold;
use stackbell_store::queue::{HeldDelivery, Leased, LeasedDelivery, LeasedLane};

use super::attempts::{Attempts, EndedRecord, Start};
use super::backoff::Recording;
use super::config::CoreConfig;
use super::in_progress::{InProgress, KeptLease};
use super::lane::Lane;
use super::lanes::Lanes;
use super::leasing::{Granting, Leasing, LeasingLane};
use super::messages::{AttemptKey, Command, OnDemand};
use super::on_demand::WaitingRequest;
use super::outcomes::Outcomes;
use super::permits::{Permit, Tier};
use super::prefetch::{Next, Prefetch};
use super::rendezvous::Neighbours;
use super::requester::Requester;
use super::sending::Sending;

/// The parts that send.
#[derive(Debug)]
pub(super) struct Dispatch {
    config: Arc<CoreConfig>,
    stopping: bool,
    sending: Sending,
    lanes: Lanes,
    prefetch: Prefetch,
    leasing: Leasing,
    attempts: Attempts,
    in_progress: InProgress,
    outcomes: Outcomes,
    /// Redeliveries that ended, for [`Dispatch::take_redelivered`].
    redelivered: Vec<DeliveryId>,
}

impl Dispatch {
    pub(super) fn new(config: &Arc<CoreConfig>, neighbours: Neighbours, now: Timestamp) -> Self {
        Self {
            config: Arc::clone(config),
            stopping: false,
            sending: Sending::unknown(config.sending_look_interval, now),
            lanes: Lanes::new(Arc::clone(config), neighbours, now),
            prefetch: Prefetch::new(config),
            leasing: Leasing::new(),
            attempts: Attempts::new(Arc::clone(config)),
            in_progress: InProgress::default(),
            outcomes: Outcomes::new(config),
            redelivered: Vec::new(),
        }
    }

    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    pub(super) fn lanes_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    pub(super) fn sending_mut(&mut self) -> &mut Sending {
        &mut self.sending
    }

    pub(super) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    pub(super) fn outcomes_mut(&mut self) -> &mut Outcomes {
        &mut self.outcomes
    }

    pub(super) fn in_progress(&self) -> &InProgress {
        &self.in_progress
    }

    pub(super) fn attempts_in_flight(&self) -> usize {
        self.attempts.in_flight()
    }

    pub(super) fn is_sending_held(&self) -> bool {
        self.sending.is_held()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.attempts.in_flight() == 0
            && self.outcomes.is_idle()
            && !self.leasing.is_under_way()
            && self.prefetch.is_idle()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Begins nothing new from here on.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// True if leased deliveries may be sent: sending is not held, the nodes are known, and this node is not stopping.
    fn may_begin(&self) -> bool {
        self.sending.goes() && self.lanes.are_nodes_known() && !self.stopping
    }

    /// True if deliveries may be leased: there are not too many outcomes to record before them.
    fn may_send(&self) -> bool {
        self.may_begin() && !self.outcomes.is_behind()
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let lanes = self.lanes.wake_at(self.may_send());
        [lanes, self.sending.wake_at(), self.prefetch.wake_at()].into_iter().flatten().min()
    }

    // The hold of all sending.

    /// Reads whether sending is held, if that is due.
    pub(super) fn start_sending_read(&mut self, now: Timestamp) -> Option<Command> {
        (!self.stopping && self.sending.begin_read(now)).then_some(Command::ReadSendingHold)
    }

    /// The hold of all sending was read.
    pub(super) fn sending_read(&mut self, hold: Option<SendingHold>, now: Timestamp) -> Option<Command> {
        self.sending.read(hold, now).map(Command::Note)
    }

    // Leases.

    /// Begins a lease request, if none is under way.
    pub(super) fn start_lease(
        &mut self,
        recording: Recording,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) -> Option<Command> {
        if self.leasing.is_under_way() || !self.may_send() {
            return None;
        }
        let lanes_max = match recording {
            Recording::Works => usize::MAX,
            Recording::Untried => 1,
            Recording::Fails => return None,
        };
        let new_lease = || self.config.new_lease(now, entropy);
        self.leasing.start(lanes_max, new_lease, &mut self.lanes, &mut self.prefetch, now)
    }

    pub(super) fn leased(&mut self, leased: Leased, now: Timestamp, commands: &mut Vec<Command>) {
        let Some(request) = self.leasing.end() else { return };
        let (lanes, lease) = request.into_parts();
        let Leased { lanes: responses, sending_held } = leased;
        debug_assert_eq!(lanes.len(), responses.len());
        self.sending.found(sending_held, now);
        for (asked, response) in lanes.into_iter().zip(responses) {
            self.lane_leased(asked, response, lease, now, commands);
        }
        self.sort_superseded(now, commands);
    }

    fn lane_leased(
        &mut self,
        asked: LeasingLane,
        mut response: LeasedLane,
        lease: Lease,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let (id, organization) = (asked.webhook(), asked.organization());
        if !response.deliveries.is_empty() {
            let ids = response.deliveries.iter().map(|leased| leased.delivery.id).collect();
            self.prefetch.forget(id, &ids, &mut self.lanes);
        }
        // A lane with a lease request under way is not dropped.
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let rest = match asked.learn(&mut response, lease, lane, &self.config, now) {
            Ok(mut granted) => {
                for leased in response.deliveries {
                    if self.in_progress.contains(leased.delivery.id) || lease.until <= now {
                        self.lanes.note_due(organization, id, lease.until, now);
                        let webhook = Arc::clone(granted.webhook());
                        self.in_progress.keep_lease(KeptLease::new(webhook, leased, lease));
                        continue;
                    }
                    match granted.grant(leased, self.may_begin()) {
                        Granting::Start(start) => self.begin_attempt(start, now, commands),
                        Granting::Prefetch(prefetched) => self.prefetch.keep(prefetched, &mut self.lanes),
                        Granting::GiveBack(held) => self.prefetch.release(held),
                    }
                }
                granted.into_rest()
            }
            Err(rest) => {
                self.prefetch.give_back_changed(id, &mut self.lanes);
                rest
            }
        };
        rest.give_back(id, &mut self.lanes, &mut self.prefetch);
        self.prefetch.trim(id, &mut self.lanes);
        self.lanes.reschedule(id, now);
    }

    pub(super) fn lease_failed(&mut self, is_corrupt: bool, now: Timestamp, commands: &mut Vec<Command>) {
        if self.leasing.is_under_way() {
            self.leasing.fail(is_corrupt, &mut self.lanes, &mut self.prefetch, now);
            self.sort_superseded(now, commands);
        }
    }

    /// Gives leases back to the store.
    pub(super) fn start_release(&mut self) -> Option<Command> {
        self.prefetch.start_release()
    }

    /// Leases were given back; if `done` is false, they could not be.
    pub(super) fn released(&mut self, held: &[HeldDelivery], done: bool, now: Timestamp) {
        self.prefetch.released(held, done, &mut self.lanes, now);
    }

    /// A webhook or one of its deliveries changed.
    pub(super) fn give_back_changed(&mut self, webhook: WebhookId) {
        self.prefetch.give_back_changed(webhook, &mut self.lanes);
    }

    /// A webhook was edited. Returns true if its lane may wait too long to learn of the edit by itself.
    pub(super) fn webhook_changed(&mut self, webhook: WebhookId, now: Timestamp) -> bool {
        self.give_back_changed(webhook);
        let Some(lane) = self.lanes.get_mut(webhook) else { return false };
        lane.look_again(now);
        let may_wait_long = lane.may_wait_long();
        self.lanes.reschedule(webhook, now);
        may_wait_long
    }

    /// An edit sets a webhook going, whatever held it.
    pub(super) fn note_set_going(
        &mut self,
        organization: OrganizationId,
        webhook: WebhookId,
        now: Timestamp,
    ) {
        self.lanes.note_due(organization, webhook, now, now);
        self.lanes.get_mut(webhook).into_iter().for_each(Lane::note_set_going);
    }

    // Attempts.

    /// Sends prefetched deliveries, lane by lane, as far as lanes and limits allow.
    pub(super) fn start_prefetched(
        &mut self,
        recording: Recording,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.prefetch.give_back_old(&mut self.lanes, now);
        if !self.may_begin() {
            self.prefetch.give_back_all(&mut self.lanes);
            return;
        }
        if self.sending.is_in_doubt() {
            return;
        }
        let attempts_max = match recording {
            Recording::Works if !self.outcomes.is_behind() => usize::MAX,
            Recording::Untried => 1,
            Recording::Works | Recording::Fails => return,
        };
        let before = self.attempts.in_flight();
        for tier in [Tier::Quick, Tier::Unproven] {
            let mut refused_in_a_row = 0;
            while self.lanes.has_room(tier)
                && refused_in_a_row < self.lanes.organizations_with_prefetched(tier)
                && let room = attempts_max.saturating_sub(self.attempts.in_flight() - before)
                && room > 0
                && let Some((organization, webhook)) = self.lanes.take_with_prefetched(tier)
            {
                if self.start_prefetched_of(webhook, room, now, commands) {
                    refused_in_a_row = 0;
                } else {
                    self.lanes.put_back_with_prefetched(organization, webhook, tier);
                    refused_in_a_row += 1;
                }
            }
        }
    }

    /// Sends up to `room` prefetched deliveries of a lane. Returns false if there was no permit for one.
    fn start_prefetched_of(
        &mut self,
        webhook: WebhookId,
        room: usize,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) -> bool {
        for _ in 0..room {
            match self.prefetch.next(webhook, &mut self.lanes, &self.in_progress, now) {
                Next::Start(start) => self.begin_attempt(start, now, commands),
                Next::NoPermit => return false,
                Next::Nothing => break,
            }
        }
        self.lanes.reschedule(webhook, now);
        true
    }

    /// Begins the attempt that a person asked for. Returns the request if there is no permit.
    pub(super) fn start_on_demand(
        &mut self,
        waiting: WaitingRequest,
        entropy: &mut dyn Entropy,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) -> Option<WaitingRequest> {
        match self.lanes.begin_on_demand(waiting.request().webhook(), now) {
            Some(permit) => {
                self.begin_on_demand(waiting, permit, entropy, now, commands);
                None
            }
            None => Some(waiting),
        }
    }

    fn begin_on_demand(
        &mut self,
        waiting: WaitingRequest,
        permit: Permit,
        entropy: &mut dyn Entropy,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let (ticket, request) = waiting.into_request();
        let (webhook, leased, requester) = match request {
            OnDemand::Ping { webhook } => {
                let delivery = new_ping(&webhook, entropy, now);
                (webhook, delivery, Requester::Ping { ticket })
            }
            OnDemand::Redeliver { webhook, delivery } => {
                let id = delivery.delivery.id;
                self.in_progress.begin_redelivery(id);
                self.prefetch.leave_to_request(webhook.id, id, &mut self.lanes, now);
                let leased = LeasedDelivery { delivery: delivery.delivery, payload: delivery.payload };
                (webhook, leased, Requester::Redelivery { ticket })
            }
        };
        self.begin_attempt(Start::new(webhook, leased, requester, permit), now, commands);
    }

    fn begin_attempt(&mut self, start: Start, now: Timestamp, commands: &mut Vec<Command>) {
        if let Some(token) = start.lease_token() {
            self.in_progress.begin(start.delivery(), token);
        }
        match self.attempts.begin(start, now) {
            Ok(request) => {
                self.lanes.note_sent(request.webhook.id, now);
                commands.push(Command::Attempt(request));
            }
            Err(ended) => {
                let (ended, permit) = ended.into_parts();
                self.end_attempt(ended, permit, now);
            }
        }
    }

    pub(super) fn attempt_ended(
        &mut self,
        key: AttemptKey,
        attempt: Attempt,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) {
        if let Some(ended) = self.attempts.end(key, attempt, &self.lanes, self.stopping, entropy, now) {
            let (ended, permit) = ended.into_parts();
            self.end_attempt(ended, permit, now);
        }
    }

    fn end_attempt(&mut self, ended: EndedRecord, permit: Permit, now: Timestamp) {
        let webhook = ended.record().webhook;
        self.lanes.end_attempt(ended.record(), permit, now);
        self.prefetch.trim(webhook, &mut self.lanes);
        let (record, note) = ended.into_outcome();
        self.outcomes.add(record, note);
        self.lanes.reschedule(webhook, now);
    }
}

fn new_ping(webhook: &Webhook, entropy: &mut dyn Entropy, now: Timestamp) -> LeasedDelivery {
    let payload = ping::render(webhook.format, now);
    let delivery = Delivery {
        id: DeliveryId::generate(now, entropy),
        organization: webhook.organization,
        webhook: webhook.id,
        trigger: Trigger::Ping,
        event_id: EventId::generate(entropy),
        format: webhook.format,
        body: Some(payload.clone()),
        created_at: now,
        rearmed_at: None,
        attempts_spent: 0,
        state: State::Pending { due_at: now },
    };
    LeasedDelivery { delivery, payload }
}
