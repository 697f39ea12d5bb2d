//! Nodes that pause, are killed, stop, start, and see each other.

use stackbell_engine::core::Input;

use crate::node::{UnderWay, node_id};
use crate::operations::RequestFate;
use crate::tally::Met;
use crate::world::World;

impl World {
    pub(super) fn pause(&mut self, n: usize) {
        self.nodes[n].is_paused = true;
        self.tally.note(Met::NodePaused);
    }

    pub(super) fn wake(&mut self, n: usize, hears_all: bool) {
        if !self.nodes[n].is_paused {
            return;
        }
        self.nodes[n].is_paused = false;
        if !self.nodes[n].mail.is_empty() {
            self.tally.note(Met::WokenWithMail);
        }
        let mut mail = vec![Input::Tick.into()];
        if hears_all {
            mail.append(&mut self.nodes[n].mail);
        }
        self.turn(n, mail);
    }

    pub(super) fn kill(&mut self, n: usize, happened: u8, told: bool) {
        self.tally.note(Met::NodeKilled);
        for (nth, asked) in std::mem::take(&mut self.nodes[n].disk).into_iter().enumerate() {
            if happened & 1 << (nth % 8) != 0 {
                self.store_does(n, &asked);
            }
        }
        // Requests in flight may or may not have arrived; nobody sees their responses.
        let now = self.clock(n);
        for (nth, under_way) in std::mem::take(&mut self.nodes[n].network).into_iter().enumerate() {
            let UnderWay { send, place, .. } = under_way;
            let arrived = happened >> (nth % 8) & 1 == 0;
            let fate = if arrived { RequestFate::AnswerLost } else { RequestFate::RequestLost };
            self.endpoints.answers(&send, place, fate, now);
        }
        self.killed.insert(self.nodes[n].life);
        self.begin(n, told);
    }

    pub(super) fn stop(&mut self, n: usize) {
        if !self.nodes[n].is_stopping {
            self.nodes[n].is_stopping = true;
            self.tally.note(Met::NodeStopped);
            self.tell(n, Input::Stop.into());
        }
    }

    /// Restarts a node that was asked to stop and has nothing in flight.
    pub(super) fn end_if_idle(&mut self, n: usize) -> bool {
        let node = &self.nodes[n];
        let ends = node.is_stopping && !node.is_paused && node.core.is_idle() && node.mail.is_empty();
        if ends {
            assert!(
                node.publishing.is_empty() && node.asking.is_empty(),
                "who waits is answered before the end"
            );
            assert!(node.network.is_empty(), "nothing is under way at the end");
            self.begin(n, true);
            // The node reported its stop and its new start.
            (0..self.nodes.len()).for_each(|n| self.see_all(n));
        }
        ends
    }

    /// Starts a node's next life.
    fn begin(&mut self, n: usize, told: bool) {
        if !self.is_shared {
            self.store.void_leases();
        }
        let ahead_ms = self.nodes[n].ahead_ms;
        self.nodes[n] = self.new_node(ahead_ms);
        self.turn(n, Vec::new());
        if told {
            self.see_all(n);
        }
    }

    /// Tells a node which nodes are live.
    pub(super) fn see_all(&mut self, n: usize) {
        let nodes = self.nodes.iter().map(|node| node.id).collect();
        self.tell(n, Input::NodesSeen { nodes }.into());
    }

    /// Tells a node something false: too few nodes, or nodes that no longer exist.
    pub(super) fn see_some(&mut self, n: usize, bits: u8) {
        let is_named = |nth: usize| bits >> nth & 1 == 1;
        let there = self.nodes.iter().enumerate().filter(|(nth, _)| is_named(*nth)).map(|(_, node)| node.id);
        let gone = (4..8).filter(|nth| is_named(*nth)).map(|nth| node_id(nth as u128));
        let nodes = there.chain(gone).collect();
        self.tally.note(Met::NodesMisseen);
        self.tell(n, Input::NodesSeen { nodes }.into());
    }
}
