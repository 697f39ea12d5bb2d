//! The inputs of a node's core, and the destinations of its commands.

use stackbell_engine::core::{
    AttemptRequest, Command, CommitFault, Core, Input, Notice, PublishRefusal, PublishTicket,
};
use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome, Silence, Verdict};
use stackbell_model::ids::WebhookId;
use stackbell_model::retry::is_repeatable;
use stackbell_store::commit::Receipt;
use stackbell_store::queue::LeasedLane;

use crate::endpoints::{Key, Sent, is_by_itself};
use crate::node::{Asked, Mail, UnderWay};
use crate::operations::RequestFate;
use crate::tally::Met;
use crate::world::World;

impl World {
    /// Gives a node an input, unless the node is paused.
    pub(super) fn tell(&mut self, n: usize, mail: Mail) {
        if self.nodes[n].is_paused {
            self.nodes[n].mail.push(mail);
        } else {
            self.turn(n, vec![mail]);
        }
    }

    /// Gives a node one of the inputs that wait for it.
    pub(super) fn hear(&mut self, n: usize, which: usize) {
        let node = &mut self.nodes[n];
        if !node.mail.is_empty() && !node.is_paused {
            let mail = node.mail.remove(which % node.mail.len());
            self.turn(n, vec![mail]);
        }
    }

    /// Runs one turn of a core. Its commands go to the store and the endpoints, its responses to the callers.
    pub(super) fn turn(&mut self, n: usize, mail: Vec<Mail>) {
        debug_assert!(!self.nodes[n].is_paused, "it takes in nothing");
        let now = self.clock(n);
        let mut commands = Vec::new();
        for Mail { input, request } in mail {
            self.note_input(n, &input, request);
            self.nodes[n].core.handle(input, now, &mut commands);
            // Commands are judged before the effects of the next input are known.
            commands.drain(..).for_each(|command| self.do_command(n, command));
        }
        self.nodes[n].wake_at = None;
        self.nodes[n].core.flush(now, &mut commands);
        for command in commands {
            self.do_command(n, command);
        }
        self.check_turn(n);
    }

    fn do_command(&mut self, n: usize, command: Command) {
        match command {
            Command::Attempt(send) => self.leaves(n, send),
            Command::WakeAt(at) => {
                self.trace(at.as_millis() as u128);
                self.nodes[n].wake_at = Some(at);
            }
            Command::RespondPublish { ticket, response } => self.producer_is_told(n, ticket, response),
            Command::RespondOnDemand { ticket, response } => {
                self.trace(u128::from(ticket.0));
                let key = self.nodes[n].asking.remove(&ticket).expect("each who asks is answered once");
                match response {
                    Ok(stored) => self.check_asked(key, &stored),
                    Err(_) => self.tally.note(Met::AskRefused),
                }
            }
            Command::Note(Notice::Unrecordable { webhook }) => {
                self.tally.note(Met::OutcomeUnrecordable);
                self.unrecordable.insert(webhook);
                // Only the search for lanes finds it, and a single node has that switched off here.
                self.untold_lanes.insert(webhook);
            }
            Command::Note(Notice::Ended { .. } | Notice::Superseded { .. })
            | Command::Note(Notice::Suspended { .. } | Notice::Resumed { .. })
            | Command::Note(Notice::SendingHeld { .. } | Notice::SendingResumed) => {}
            for_the_store => {
                let caps = self.caps(n, &for_the_store);
                let (at, step) = (self.clock(n), self.endpoints.next_step());
                self.nodes[n].disk.push(Asked { command: for_the_store, at, step, caps });
            }
        }
    }

    /// The most attempts in flight for each webhook of a request.
    fn caps(&self, n: usize, command: &Command) -> Vec<(WebhookId, u32)> {
        let cap = |webhook| (webhook, self.nodes[n].cap(webhook, &self.config));
        match command {
            Command::Lease { lanes, .. } => lanes.iter().map(|lane| cap(lane.webhook)).collect(),
            Command::Commit { batch, .. } => {
                let new = batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
                new.filter(|new| new.lease.is_some()).map(|new| cap(new.webhook)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn leaves(&mut self, n: usize, send: Box<AttemptRequest>) {
        self.tally.note(match send.trigger {
            AttemptTrigger::Schedule => Met::Sent,
            AttemptTrigger::Probe => Met::Probed,
            AttemptTrigger::Redeliver => Met::Redelivered,
            AttemptTrigger::Ping => Met::Pinged,
        });
        self.trace(send.delivery.id.as_uuid().as_u128() ^ self.nodes[n].id.as_uuid().as_u128());
        let given = if is_by_itself(send.trigger) { Some(self.check_leaves(n, &send)) } else { None };
        let key: Key = (send.webhook.id, send.delivery.event_id);
        let node = &self.nodes[n];
        let last = given.or_else(|| self.given.get(&send.delivery.id)?.last().copied());
        let log = self.endpoints.log.get(&key).map_or(&[][..], Vec::as_slice);
        if is_by_itself(send.trigger) && log.iter().any(|sent| sent.seen.is_some()) {
            self.tally.note(Met::SentAgainAfterSuccess);
        }
        let sent = Sent {
            trigger: send.trigger,
            payload: send.payload.clone(),
            sent_step: self.endpoints.next_step(),
            started_at: send.started_at,
            leased_step: last.map_or(0, |given| given.step),
            life: node.life,
            elapsed: node.elapsed,
            spent: send.delivery.attempts_spent,
            pace: (
                send.webhook.pace,
                send.webhook.format,
                self.endpoints.paces_set(send.webhook.id, send.webhook.revision),
            ),
            revision: send.webhook.revision,
            view: node.view,
            ended: None,
            accepted: false,
            seen: None,
            told: None,
        };
        let place = self.endpoints.leaves(key, sent);
        let cap = given.map_or(0, |given| given.cap);
        self.nodes[n].network.push(UnderWay { send, place, cap });
        self.check_caps(n);
    }

    fn producer_is_told(
        &mut self,
        n: usize,
        ticket: PublishTicket,
        answer: Result<Vec<Receipt>, PublishRefusal>,
    ) {
        self.trace(u128::from(ticket.0) << 1 | u128::from(answer.is_ok()));
        let producer = self.nodes[n].publishing.remove(&ticket).expect("each producer is answered once");
        match answer {
            Ok(receipts) => {
                self.check_accepted(&producer, &receipts);
                producer.cursor.iter().for_each(|cursor| self.check_told(cursor, false));
            }
            Err(PublishRefusal::EventsDropped(_)) => {
                producer.cursor.iter().for_each(|cursor| self.check_told(cursor, true));
            }
            Err(_) => self.tally.note(Met::PublishRefused),
        }
    }

    pub(super) fn request_step(&mut self, n: usize, which: usize, fate: RequestFate) {
        if self.nodes[n].network.is_empty() {
            return;
        }
        match fate {
            RequestFate::Answered => {}
            RequestFate::RequestLost => self.tally.note(Met::RequestLost),
            RequestFate::AnswerLost => self.tally.note(Met::AnswerLost),
            RequestFate::OurFault => self.tally.note(Met::OurFault),
        }
        let now = self.clock(n);
        let network = &mut self.nodes[n].network;
        let UnderWay { send, place, .. } = network.remove(which % network.len());
        let attempt = self.endpoints.answers(&send, place, fate, now);
        let key = (send.webhook.id, send.delivery.event_id);
        let input = Input::AttemptEnded { key: send.key, attempt: Box::new(attempt) };
        self.tell(n, Mail { input, request: Some((key, place)) });
    }

    fn note_input(&mut self, n: usize, input: &Input, request: Option<(Key, usize)>) {
        let node = &mut self.nodes[n];
        match input {
            Input::SendingRead { hold } => node.sending_goes = Some(hold.is_none()),
            Input::Committed { outcome, .. } => {
                node.is_commit_failing = false;
                if outcome.sending_held {
                    node.sending_goes = Some(false);
                }
            }
            Input::CommitFailed { fault: CommitFault::Corrupt, .. } => {}
            Input::CommitFailed { .. } => node.is_commit_failing = true,
            Input::Leased(leased) => {
                if leased.sending_held {
                    node.sending_goes = Some(false);
                }
                self.note_late_leases(n, &leased.lanes);
            }
            Input::NodesSeen { nodes } => {
                let others = nodes.iter().filter(|id| **id != node.id).count();
                if node.view.0 != others + 1 {
                    node.view = (others + 1, node.view.1 + 1);
                }
            }
            Input::AttemptEnded { attempt, .. } => {
                let (key, place) = request.expect("an attempt is the end of a request");
                self.note_end(n, key, place, attempt);
            }
            _ => {}
        }
    }

    fn note_end(&mut self, n: usize, key: Key, place: usize, attempt: &Attempt) {
        let (start, max) = (self.config.lane_limit_start, self.config.lane_limit_max);
        let is_moved = self.moved.contains(&key.0);
        // The node may know of a later edit, and then learns nothing from this attempt.
        let sent_with = self.endpoints.log[&key][place].revision;
        let is_old = self.find_webhook(key.0).is_some_and(|webhook| webhook.revision > sent_with);
        let limit = self.nodes[n].limits.entry(key.0).or_insert(start);
        match attempt.outcome {
            // The node may learn of another URL after this, and restart with the initial limit.
            Outcome::Unanswered { silence: Silence::TimedOut, .. } if is_moved || is_old => {}
            Outcome::Unanswered { silence: Silence::TimedOut, .. } => *limit = 1,
            Outcome::Answered(_) if attempt.duration <= self.config.quick_response => {
                *limit = (*limit + 1).min(max);
            }
            _ => {}
        }
        let step = self.endpoints.next_step();
        self.note_asked(n, key.0, step, attempt, is_old);
        let sent = &mut self.endpoints.log.get_mut(&key).expect("it left")[place];
        sent.ended = Some((step, is_repeatable(sent.pace.1, &attempt.outcome)));
        if attempt.outcome.verdict() == Verdict::Success {
            sent.seen = Some(step);
        }
    }

    /// Records the wait that an endpoint asked for. A later 2xx of a manual attempt ends it.
    fn note_asked(&mut self, n: usize, webhook: WebhookId, step: u64, attempt: &Attempt, is_old: bool) {
        let wait = attempt.outcome.response().and_then(|answer| answer.retry_after);
        if let Some(wait) = wait.filter(|_| !is_old) {
            let until = self.clock(n).after(wait);
            let asked = self.nodes[n].asked.entry(webhook).or_insert((until, step));
            *asked = (asked.0.max(until), step);
        }
        if attempt.outcome.verdict() == Verdict::Success && !attempt.trigger.is_ours() {
            self.set_going.insert(webhook, step);
        }
    }

    /// A lease may be over when the node learns of it. If the node's clock was set back meanwhile, that lease may have replaced
    /// one that the node still uses.
    fn note_late_leases(&mut self, n: usize, lanes: &[LeasedLane]) {
        let now = self.lease_now(n);
        let leased = lanes.iter().flat_map(|lane| &lane.deliveries).map(|leased| &leased.delivery);
        let is_over =
            |id| self.given.get(id).and_then(|given| given.last()).is_some_and(|last| last.until <= now);
        let late: Vec<_> = leased
            .filter(|delivery| is_over(&delivery.id))
            .map(|delivery| (delivery.webhook, delivery.event_id))
            .collect();
        late.into_iter().for_each(|key| self.lose_lease(key));
    }

    /// The core of a node.
    pub(super) fn core(&self, n: usize) -> &Core {
        &self.nodes[n].core
    }
}
