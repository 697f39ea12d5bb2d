//! Pings and redeliveries that wait for a permit.
//!
//! They bypass the queue of deliveries and count against the same limits.

use std::collections::VecDeque;
use std::time::Duration;

use stackbell_model::Timestamp;

use super::config::CoreConfig;
use super::messages::{Command, OnDemand, OnDemandRefusal, OnDemandTicket};

/// A request that waits for a permit.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    ticket: OnDemandTicket,
    asked_at: Timestamp,
    request: OnDemand,
}

impl WaitingRequest {
    pub(super) fn request(&self) -> &OnDemand {
        &self.request
    }

    pub(super) fn into_request(self) -> (OnDemandTicket, OnDemand) {
        (self.ticket, self.request)
    }
}

/// The requests that wait, the oldest first.
#[derive(Debug)]
pub(super) struct OnDemandQueue {
    waiting: VecDeque<WaitingRequest>,
    waiting_max: usize,
    wait_max: Duration,
}

impl OnDemandQueue {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_max: config.on_demand_waiting_max,
            wait_max: config.on_demand_wait_max,
        }
    }

    /// Adds a request. An organization gets a quarter of the queue.
    ///
    /// # Errors
    /// The refusal, where the queue has no room.
    pub(super) fn add(
        &mut self,
        ticket: OnDemandTicket,
        request: OnDemand,
        now: Timestamp,
    ) -> Result<(), OnDemandRefusal> {
        let organization = request.webhook().organization;
        let is_own = |waiting: &&WaitingRequest| waiting.request.webhook().organization == organization;
        let own = self.waiting.iter().filter(is_own).count();
        if self.waiting.len() >= self.waiting_max || own >= self.waiting_max.div_ceil(4) {
            return Err(OnDemandRefusal::Overloaded);
        }
        self.waiting.push_back(WaitingRequest { ticket, asked_at: now, request });
        Ok(())
    }

    /// Refuses the requests that `concerns` names.
    pub(super) fn refuse(
        &mut self,
        refusal: OnDemandRefusal,
        commands: &mut Vec<Command>,
        concerns: impl Fn(&WaitingRequest) -> bool,
    ) {
        self.waiting.retain(|waiting| {
            let refused = concerns(waiting);
            if refused {
                commands.push(Command::RespondOnDemand { ticket: waiting.ticket, response: Err(refusal) });
            }
            !refused
        });
    }

    /// Refuses the requests that have waited too long.
    pub(super) fn refuse_late(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        let asked_before = now.before(self.wait_max);
        self.refuse(OnDemandRefusal::Overloaded, commands, |waiting| waiting.asked_at <= asked_before);
    }

    /// When the oldest request has waited too long.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.waiting.front().map(|waiting| waiting.asked_at.after(self.wait_max))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<WaitingRequest> {
        self.waiting.pop_front()
    }

    /// Puts a request without a permit behind the others, so that it does not hold up other organizations.
    pub(super) fn put_back(&mut self, waiting: WaitingRequest) {
        self.waiting.push_back(waiting);
    }
}
