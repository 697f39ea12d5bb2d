//! Pings and redeliveries: what people ask for, past the queue and under the same caps.

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Delivery, State, Trigger};
use stackbell_model::ids::{DeliveryId, EventId};
use stackbell_model::webhook::Webhook;
use stackbell_payload::ping;
use stackbell_store::history::StoredDelivery;

use super::Core;
use super::attempts::Subject;
use super::backoff::Recording;
use super::lane::Lane;
use super::messages::{Ask, AskRefusal, AskTicket, Command};
use super::permits::Permit;

/// Somebody who waits for a permit.
#[derive(Debug)]
pub(super) struct WaitingAsk {
    pub(super) ticket: AskTicket,
    pub(super) asked_at: Timestamp,
    pub(super) ask: Ask,
}

impl Core {
    pub(super) fn ask(&mut self, ticket: AskTicket, ask: Ask, now: Timestamp, commands: &mut Vec<Command>) {
        let max = self.config.waiting_asks_max;
        let organization = ask.webhook().organization;
        let own =
            self.asks.iter().filter(|waiting| waiting.ask.webhook().organization == organization).count();
        let refusal = if self.stopping {
            Some(AskRefusal::Unavailable)
        } else if self.asks.len() >= max || own >= max.div_ceil(4) {
            Some(AskRefusal::Overloaded)
        } else {
            None
        };
        match refusal {
            Some(refusal) => commands.push(Command::AnswerAsk { ticket, answer: Err(refusal) }),
            None => self.asks.push_back(WaitingAsk { ticket, asked_at: now, ask }),
        }
    }

    /// Tells those who wait and whom it concerns that nothing will come of it.
    pub(super) fn refuse_asks(
        &mut self,
        refusal: AskRefusal,
        commands: &mut Vec<Command>,
        concerns: impl Fn(&WaitingAsk) -> bool,
    ) {
        self.asks.retain(|waiting| {
            let refused = concerns(waiting);
            if refused {
                commands.push(Command::AnswerAsk { ticket: waiting.ticket, answer: Err(refusal) });
            }
            !refused
        });
    }

    /// Starts every ask that gets a permit. One that does not must not hold up those of other organizations.
    pub(super) fn start_asks(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.is_behind_with_records() || self.commit_backoff.holds(now).is_some() {
            self.refuse_asks(AskRefusal::Unavailable, commands, |_| true);
        }
        let asked_before = now.before(self.config.ask_wait_max);
        self.refuse_asks(AskRefusal::Overloaded, commands, |waiting| waiting.asked_at <= asked_before);
        if self.commit_backoff.recording(now, !self.commits.is_empty()) == Recording::Fails {
            return;
        }
        for _ in 0..self.asks.len() {
            let Some(waiting) = self.asks.pop_front() else { return };
            match self.permit_for_ask(waiting.ask.webhook(), now) {
                Some(permit) => self.start_ask(waiting, permit, now, commands),
                None => self.asks.push_back(waiting),
            }
        }
    }

    /// Asks count against the caps of node and organization; the lane's own limit and pace do not keep a person waiting.
    fn permit_for_ask(&mut self, webhook: &Webhook, now: Timestamp) -> Option<Permit> {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Lane::of(webhook, neighbours.share_of(webhook.id), config, now);
        let lane = self.lanes.entry(webhook.id).or_insert_with(new);
        let permit = self.permits.acquire_for_ask(webhook.organization, lane.pace())?;
        lane.attempt_begins();
        Some(permit)
    }

    fn start_ask(
        &mut self,
        waiting: WaitingAsk,
        permit: Permit,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let ticket = waiting.ticket;
        let (webhook, delivery, subject) = match waiting.ask {
            Ask::Ping { webhook } => {
                let delivery = self.new_ping(&webhook, now);
                (webhook, delivery, Subject::Ping { ticket })
            }
            Ask::Redeliver { webhook, delivery } => {
                *self.redelivering.entry(delivery.delivery.id).or_default() += 1;
                self.leave_to_asker(webhook.id, delivery.delivery.id, now);
                (webhook, *delivery, Subject::Redelivery { ticket })
            }
        };
        let StoredDelivery { delivery, payload } = delivery;
        self.begin_attempt(webhook, delivery, payload, subject, permit, now, commands);
    }

    fn new_ping(&mut self, webhook: &Webhook, now: Timestamp) -> StoredDelivery {
        let payload = ping::render(webhook.format, now);
        let delivery = Delivery {
            id: DeliveryId::generate(now, &mut self.entropy),
            organization: webhook.organization,
            webhook: webhook.id,
            trigger: Trigger::Ping,
            event_id: EventId::generate(&mut self.entropy),
            format: webhook.format,
            body: Some(payload.clone()),
            created_at: now,
            rearmed_at: None,
            attempts_spent: 0,
            state: State::Pending { due_at: now },
        };
        StoredDelivery { delivery, payload }
    }
}
