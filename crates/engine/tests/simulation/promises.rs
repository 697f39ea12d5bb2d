//! Checks at each step. The numbers are those of the invariants in ARCHITECTURE.md.

use stackbell_engine::core::AttemptRequest;
use stackbell_model::delivery::{State, Verdict};
use stackbell_model::retry::RetryPolicy;
use stackbell_store::commit::Receipt;
use stackbell_store::history::StoredAttempt;

use crate::endpoints::{Key, is_by_itself, keeps_order};
use crate::node::Producer;
use crate::world::{Given, World};

impl World {
    /// Checks that a node may send by itself, and does so under a valid lease. Returns that lease.
    pub(super) fn check_leaves(&self, n: usize, send: &AttemptRequest) -> Given {
        let node = &self.nodes[n];
        let key = (send.webhook.id, send.delivery.event_id);
        assert!(node.sending_goes == Some(true), "hold: sent while sending is held: {send:?}");
        assert!(node.view.0 > 0, "share: sent before it is known who else sends: {send:?}");
        let is_beside = node.network.iter().any(|under_way| under_way.send.delivery.id == send.delivery.id);
        assert!(!is_beside, "invariant 3: sent beside itself: {send:?}");
        let is_too_old = RetryPolicy::default().is_expired(
            self.clock(n),
            send.webhook.is_held(),
            send.delivery.armed_at(),
            send.webhook.health.hold_ended_at,
        );
        assert!(!is_too_old, "Retry: sent although it is too old: {send:?}");
        assert!(send.webhook.active, "Suspension: sent although it is inactive: {send:?}");
        let given = self.check_lease(n, key, send);
        self.check_wait(n, send, given);
        given
    }

    /// Retry: nothing is sent before the time that an endpoint asked for, as far as the node can know, unless somebody ended
    /// the wait.
    fn check_wait(&self, n: usize, send: &AttemptRequest, given: Given) {
        let webhook = send.webhook.id;
        let was_set_going = |since: u64| self.set_going.get(&webhook).is_some_and(|step| *step > since);
        if let Some((until, step)) = self.nodes[n].asked.get(&webhook) {
            // The wait may have been over before the clock was set back.
            let is_over = *until <= self.clock(n) || self.nodes[n].set_back_step > *step;
            assert!(
                is_over || was_set_going(*step),
                "Retry: sent before {until:?}, as was asked for: {send:?}"
            );
        }
        let is_held = given.held_until.is_some_and(|until| self.clock(n) < until);
        let may_go = !is_held || was_set_going(given.step);
        assert!(may_go, "Retry: a new one was sent that had to wait: {send:?}");
    }

    /// Invariant 3: the lease is this node's and has not run out, unless somebody changed the delivery meanwhile, or set the
    /// node's clock back.
    fn check_lease(&self, n: usize, key: Key, send: &AttemptRequest) -> Given {
        let node = &self.nodes[n];
        let given = self.given.get(&send.delivery.id).map_or(&[][..], Vec::as_slice);
        let is_own = |given: &&Given| given.life == node.life && given.rearmed_at == send.delivery.rearmed_at;
        let own = given.iter().rfind(is_own);
        let own = *own.unwrap_or_else(|| panic!("invariant 3: sent without a lease: {send:?}"));
        let is_last = given.last().is_some_and(|last| last.life == node.life);
        let stands = is_last && self.lease_now(n) < own.until;
        let touched = self.touched.get(&key).is_some_and(|steps| steps.iter().any(|step| *step > own.step));
        let was_set_back = node.set_back_step > own.asked_step;
        assert!(
            stands || touched || was_set_back,
            "invariant 3: sent after its lease was over: {own:?} {send:?}"
        );
        // After its clock was set back, a node may treat an earlier lease as valid.
        let is_of_the_moment = was_set_back || send.webhook.revision >= own.revision;
        assert!(is_of_the_moment, "invariant 4: not the webhook of the moment: {send:?}");
        own
    }

    /// Fairness: limits the attempts in flight from a node, in total, for each organization and for each webhook.
    pub(super) fn check_caps(&self, n: usize) {
        let (node, config) = (&self.nodes[n], &self.config);
        let under_way = || node.network.iter().map(|under_way| &under_way.send.webhook);
        assert!(under_way().count() <= config.in_flight_max as usize, "Fairness: too many in flight");
        for organization in &self.organizations {
            let own = under_way().filter(|webhook| webhook.organization == *organization).count();
            let max = config.organization_in_flight_max as usize;
            assert!(own <= max, "Fairness: too many in flight for an organization");
        }
        let webhook = &node.network.last().expect("one has just left").send.webhook;
        let by_itself = || {
            let of_it = node.network.iter().filter(|under_way| under_way.send.webhook.id == webhook.id);
            of_it.filter(|under_way| is_by_itself(under_way.send.trigger))
        };
        let cap = by_itself().map(|under_way| under_way.cap).max().unwrap_or(0);
        let cap = cap.max(node.cap(webhook.id, config)) as usize;
        let count = by_itself().count();
        if keeps_order(webhook.pace, webhook.format) {
            let same = by_itself().filter(|one| one.send.webhook.revision == webhook.revision).count();
            assert!(same <= 1, "Fairness: {same} in flight for a webhook whose deliveries go in order");
        }
        assert!(count <= cap, "Fairness: {count} in flight for a webhook that takes {cap}");
    }

    /// Checks after each turn that outcomes and producers wait only for the store, and are few.
    pub(super) fn check_turn(&self, n: usize) {
        let (node, config) = (&self.nodes[n], &self.config);
        let unrecorded = node.core.unrecorded();
        let may_wait = node.is_commit_failing || node.has_commit_under_way() || node.has_lease_under_way();
        assert!(unrecorded == 0 || may_wait, "invariant 3: {unrecorded} outcomes are kept from the store");
        let most = config.unrecorded_max + config.in_flight_max as usize;
        assert!(unrecorded <= most, "invariant 6: {unrecorded} outcomes wait");
        let most = config.waiting_events_max + config.commits_in_flight_max * config.batch_events_max;
        assert!(node.publishing.len() <= most, "invariant 6: {} producers wait", node.publishing.len());
        let most = config.on_demand_waiting_max + config.in_flight_max as usize + most_unrecorded(config);
        assert!(node.asking.len() <= most, "invariant 6: {} people wait", node.asking.len());
        assert_eq!(node.core.attempts_in_flight(), self.under_way(n), "an attempt is one request");
    }

    /// The number of requests whose end the core has not received.
    fn under_way(&self, n: usize) -> usize {
        let node = &self.nodes[n];
        node.network.len() + node.mail.iter().filter(|mail| mail.request.is_some()).count()
    }

    /// Invariants 1 and 10: after a positive response to a producer, its events are stored, and its right was current.
    pub(super) fn check_accepted(&mut self, producer: &Producer, receipts: &[Receipt]) {
        assert!(
            receipts.iter().map(|receipt| &receipt.id).eq(&producer.events),
            "in the order of the events"
        );
        for receipt in receipts {
            assert!(self.expected.contains_key(&receipt.id), "invariant 1: answered, and not in");
            let is_of_right = self.accepted_as_of[&receipt.id].contains(&producer.version);
            assert!(is_of_right, "invariant 10: accepted by a right that was over");
            self.answered.insert(receipt.id, receipt.deliveries);
        }
    }

    /// Ping and redelivery: the attempt in the response is stored, and a 2xx of a redelivery has ended its delivery.
    pub(super) fn check_asked(&self, key: Option<Key>, answer: &StoredAttempt) {
        let delivery = &answer.delivery.delivery;
        let stored = self.delivery(delivery.webhook, delivery.event_id);
        let Some(stored) = stored else { panic!("an attempt is answered that is not in: {answer:?}") };
        if key.is_some() && answer.attempt.outcome.verdict() == Verdict::Success {
            let has_ended = matches!(stored.delivery.state, State::Succeeded { .. });
            assert!(has_ended, "Redeliver: a 2xx ends the delivery");
        }
    }
}

fn most_unrecorded(config: &stackbell_engine::core::CoreConfig) -> usize {
    config.unrecorded_max + config.in_flight_max as usize
}
