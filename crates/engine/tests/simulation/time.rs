//! Time passes, clocks are set, and finally everything comes to rest.

use std::time::Duration;

use stackbell_engine::core::Input;
use stackbell_model::Timestamp;
use stackbell_model::delivery::State;

use crate::endpoints::{EXCHANGE_TIME, Key};
use crate::operations::{RequestFate, StoreFate};
use crate::tally::Met;
use crate::world::World;

/// The longest automatic wait of a delivery: a capped `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(25 * 3600);

/// The longest time until everything has ended after the last fault, if nodes find the work of others only by looking.
const LONGEST_REST: Duration = Duration::from_secs(4 * 24 * 3600);

/// The largest difference between a node's clock and its shared store's clock.
const APART_MS_MAX: i64 = 5000;

impl World {
    /// Time passes: requests end within their limit, and the store responds within seconds if it works.
    pub(super) fn pass_time(&mut self, by: Duration) {
        let until = self.time.after(by);
        if by > EXCHANGE_TIME {
            for n in self.awake() {
                while !self.nodes[n].network.is_empty() {
                    self.request_step(n, 0, RequestFate::AnswerLost);
                }
            }
            for _ in 0..100 * self.nodes.len() {
                if self.end_something() {
                    continue;
                }
                match self.next_wake(|world, n| !world.core(n).is_idle()).filter(|at| *at < until) {
                    Some(at) => self.move_time(at.max(self.time.after(Duration::from_millis(1)))),
                    None => break,
                }
            }
        }
        self.move_time(until);
    }

    fn awake(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| !self.nodes[*n].is_paused).collect()
    }

    /// Ends something in flight successfully. Returns whether there was something.
    pub(super) fn end_something(&mut self) -> bool {
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            if node.is_paused {
                continue;
            }
            if !node.mail.is_empty() {
                self.hear(n, 0);
            } else if !node.disk.is_empty() {
                self.store_step(n, 0, StoreFate::Done);
            } else if !node.network.is_empty() {
                self.request_step(n, 0, RequestFate::Answered);
            } else if !self.end_if_idle(n) {
                continue;
            }
            return true;
        }
        false
    }

    /// The earliest wake-up among these nodes.
    fn next_wake(&self, of: impl Fn(&Self, usize) -> bool) -> Option<Timestamp> {
        let nodes = self.awake().into_iter().filter(|n| of(self, *n));
        let wakes = nodes.filter_map(|n| {
            let at = self.nodes[n].wake_at?;
            Some(Timestamp::from_millis(at.as_millis() - self.nodes[n].ahead_ms))
        });
        wakes.min()
    }

    pub(super) fn move_time(&mut self, to: Timestamp) {
        let by = to.since(self.time);
        self.time = to;
        if self.is_shared {
            self.store.set_lease_clock(to);
        }
        self.nodes.iter_mut().for_each(|node| node.elapsed += by);
        for n in self.awake() {
            self.turn(n, vec![Input::Tick.into()]);
        }
    }

    /// Sets a node's clock. Clocks of nodes that share a store stay within seconds of each other; a single node's clock may
    /// differ without limit.
    pub(super) fn set_clock(&mut self, n: usize, by: Duration, ahead: bool) {
        let by = i64::try_from(by.as_millis()).expect("some days");
        let by = if ahead { by } else { -by };
        let node = &mut self.nodes[n];
        let before = node.ahead_ms;
        node.ahead_ms += by;
        if self.is_shared {
            node.ahead_ms = node.ahead_ms.clamp(-APART_MS_MAX, APART_MS_MAX);
        }
        let moved = node.ahead_ms - before;
        let distance = Duration::from_millis(moved.unsigned_abs());
        if moved >= 0 {
            node.elapsed += distance;
            self.tally.note(Met::ClockAhead);
        } else {
            self.set_back += distance;
            node.set_back_step = self.endpoints.next_step();
            self.tally.note(Met::ClockBack);
        }
        self.tell(n, Input::Tick.into());
    }

    /// Endpoints accept, the store works, nodes see each other, and time passes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.endpoints.all_accept();
        for n in 0..self.nodes.len() {
            self.wake(n, true);
        }
        for n in 0..self.nodes.len() {
            // The last news of other nodes is true.
            while !self.nodes[n].mail.is_empty() {
                self.hear(n, 0);
            }
            self.see_all(n);
        }
        if !self.is_shared {
            self.tell_untold();
        }
        self.set_held(0, false, true);
        while self.recovery_step(0, 0, true) {}
        let begun = self.time;
        for _ in 0..20_000 {
            if self.end_something() {
                continue;
            }
            self.sweep(0);
            if self.is_settled() {
                return;
            }
            let rest = self.time.since(begun);
            assert!(!self.is_shared || rest < LONGEST_REST, "never came to rest: {:?}", self.pending());
            self.wait();
        }
        panic!("never came to rest: {:?}", self.pending());
    }

    fn tell_untold(&mut self) {
        for webhook in std::mem::take(&mut self.untold) {
            let organization = self.owners[&webhook];
            self.turn(0, vec![Input::WebhookChanged { organization, webhook }.into()]);
        }
        for webhook in std::mem::take(&mut self.untold_lanes) {
            let organization = self.owners[&webhook];
            self.turn(0, vec![Input::LaneChanged { organization, webhook }.into()]);
        }
    }

    /// Advances the time to the next wake-up of a core.
    fn wait(&mut self) {
        let at = self.next_wake(|_, _| true).expect("a machine with something pending wakes up again");
        let too_long = LONGEST_WAIT + self.set_back;
        assert!(at.since(self.time) < too_long, "what is pending was forgotten: {:?}", self.pending());
        self.move_time(at.max(self.time.after(Duration::from_millis(1))));
    }

    fn is_settled(&self) -> bool {
        let is_idle = |n: usize| self.core(n).is_idle() && !self.nodes[n].is_stopping;
        (0..self.nodes.len()).all(is_idle) && (self.pending_count() == 0 || self.pending().is_empty())
    }

    /// The pending deliveries, except those of inactive webhooks.
    fn pending(&self) -> Vec<Key> {
        let mut pending = Vec::new();
        for (event, heard) in &self.expected {
            for webhook in heard {
                let delivery = self.delivery(*webhook, *event).expect("no delivery vanishes");
                let is_pending = matches!(delivery.delivery.state, State::Pending { .. });
                if is_pending && self.find_webhook(*webhook).is_none_or(|webhook| webhook.active) {
                    pending.push((*webhook, *event));
                }
            }
        }
        pending
    }
}
