//! Pings and redeliveries: what people ask for, past the queue and under the same caps.

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Delivery, State, Trigger};
use stackbell_model::ids::{DeliveryId, EventId};
use stackbell_model::webhook::Webhook;
use stackbell_payload::ping;
use stackbell_store::history::StoredDelivery;

use super::Core;
use super::attempts::Requester;
use super::backoff::Recording;
use super::lane::Lane;
use super::messages::{Command, OnDemand, OnDemandRefusal, OnDemandTicket};
use super::permits::Permit;

/// Somebody who waits for a permit.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub(super) ticket: OnDemandTicket,
    pub(super) asked_at: Timestamp,
    pub(super) request: OnDemand,
}

impl Core {
    pub(super) fn on_demand(
        &mut self,
        ticket: OnDemandTicket,
        request: OnDemand,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let max = self.config.on_demand_waiting_max;
        let organization = request.webhook().organization;
        let own = self
            .on_demand
            .iter()
            .filter(|waiting| waiting.request.webhook().organization == organization)
            .count();
        let refusal = if self.stopping {
            Some(OnDemandRefusal::Unavailable)
        } else if self.on_demand.len() >= max || own >= max.div_ceil(4) {
            Some(OnDemandRefusal::Overloaded)
        } else {
            None
        };
        match refusal {
            Some(refusal) => commands.push(Command::RespondOnDemand { ticket, response: Err(refusal) }),
            None => self.on_demand.push_back(WaitingRequest { ticket, asked_at: now, request }),
        }
    }

    /// Tells those who wait and whom it concerns that nothing will come of it.
    pub(super) fn refuse_on_demand(
        &mut self,
        refusal: OnDemandRefusal,
        commands: &mut Vec<Command>,
        concerns: impl Fn(&WaitingRequest) -> bool,
    ) {
        self.on_demand.retain(|waiting| {
            let refused = concerns(waiting);
            if refused {
                commands.push(Command::RespondOnDemand { ticket: waiting.ticket, response: Err(refusal) });
            }
            !refused
        });
    }

    /// Starts every request that gets a permit. One that does not must not hold up those of other organizations.
    pub(super) fn start_on_demand_all(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.is_behind_with_records() || self.commit_backoff.holds(now).is_some() {
            self.refuse_on_demand(OnDemandRefusal::Unavailable, commands, |_| true);
        }
        let asked_before = now.before(self.config.on_demand_wait_max);
        self.refuse_on_demand(OnDemandRefusal::Overloaded, commands, |waiting| {
            waiting.asked_at <= asked_before
        });
        if self.commit_backoff.recording(now, !self.commits.is_empty()) == Recording::Fails {
            return;
        }
        for _ in 0..self.on_demand.len() {
            let Some(waiting) = self.on_demand.pop_front() else { return };
            match self.permit_for_on_demand(waiting.request.webhook(), now) {
                Some(permit) => self.start_on_demand(waiting, permit, now, commands),
                None => self.on_demand.push_back(waiting),
            }
        }
    }

    /// Asks count against the caps of node and organization; the lane's own limit and pace do not keep a person waiting.
    fn permit_for_on_demand(&mut self, webhook: &Webhook, now: Timestamp) -> Option<Permit> {
        let (config, neighbours) = (&self.config, &self.neighbours);
        let new = || Lane::of(webhook, neighbours.share_of(webhook.id), config, now);
        let lane = self.lanes.entry(webhook.id).or_insert_with(new);
        let permit = self.permits.acquire_on_demand(webhook.organization, lane.tier())?;
        lane.attempt_begins();
        Some(permit)
    }

    fn start_on_demand(
        &mut self,
        waiting: WaitingRequest,
        permit: Permit,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let ticket = waiting.ticket;
        let (webhook, delivery, requester) = match waiting.request {
            OnDemand::Ping { webhook } => {
                let delivery = self.new_ping(&webhook, now);
                (webhook, delivery, Requester::Ping { ticket })
            }
            OnDemand::Redeliver { webhook, delivery } => {
                *self.redelivering.entry(delivery.delivery.id).or_default() += 1;
                self.leave_to_asker(webhook.id, delivery.delivery.id, now);
                (webhook, *delivery, Requester::Redelivery { ticket })
            }
        };
        let StoredDelivery { delivery, payload } = delivery;
        self.begin_attempt(webhook, delivery, payload, requester, permit, now, commands);
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
