//! A node's share of what a webhook may be sent, where several nodes send.
//!
//! Nobody hands out shares: each node works out its own, from the same list of nodes and by the same rule. For each webhook
//! the nodes stand in an order of their own (rendezvous hashing), so that a node that comes or goes moves nobody else past
//! anybody, and no node is first everywhere.
//!
//! These promises hold while all nodes see the same nodes and know the same about an endpoint:
//!
//! - **In flight.** A webhook whose limit is `L` has exactly `L` attempts in flight at the most while `L` is below where it
//!   starts, and `max(L, nodes)` from there on: nobody goes without while nothing bad is known. A node whose share is nothing
//!   tries once in a while whether that still holds, one attempt in [`Share::turn`].
//! - **Order.** A webhook whose deliveries go in order is sent to by the first node alone, one at a time and at the whole pace.
//! - **Paces.** All nodes together keep to the rate; at once after a rest there are `max(burst, nodes)`.
//! - **Breakers.** Once it is open there is about one attempt in each [`super::CoreConfig::breaker_wait`].
//!
//! Nodes learn of each other within seconds. Until all have, each goes by what it saw last: one that joins sends beside
//! the others as if they knew of it, and one that was lost leaves its share unused.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stackbell_model::ids::{NodeId, WebhookId};

/// The nodes that send, as this node knows them.
#[derive(Clone, Debug)]
pub struct Neighbours {
    own: NodeId,
    /// All nodes, this one among them, by id; `None` until they are known.
    nodes: Option<Vec<NodeId>>,
}

impl Neighbours {
    /// For a node that has its store for itself.
    pub fn alone(own: NodeId) -> Self {
        Self { own, nodes: Some(vec![own]) }
    }

    /// For a node that shares its store with others, and does not know them yet.
    pub fn unknown(own: NodeId) -> Self {
        Self { own, nodes: None }
    }

    /// True if it is known which nodes send.
    pub(super) fn are_known(&self) -> bool {
        self.nodes.is_some()
    }

    /// Learns which nodes are at work. Returns true if that is news.
    pub(super) fn learn(&mut self, mut nodes: Vec<NodeId>) -> bool {
        // This node is at work, even if the others have not seen it.
        nodes.push(self.own);
        nodes.sort_unstable();
        nodes.dedup();
        let nodes = Some(nodes);
        let is_news = self.nodes != nodes;
        self.nodes = nodes;
        is_news
    }

    /// This node's share of a webhook. Costs a hash for each node, where there are several.
    pub(super) fn share_of(&self, webhook: WebhookId) -> Share {
        let nodes = self.nodes.as_deref().unwrap_or_default();
        if nodes.len() <= 1 {
            return Share::WHOLE;
        }
        let own = score(webhook, self.own);
        let before = nodes.iter().filter(|node| score(webhook, **node) > own).count();
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Share { rank: count(before), nodes: count(nodes.len()) }
    }
}

/// Nodes stand in the order of their scores. No two have the same: the node's id is its last part.
fn score(webhook: WebhookId, node: NodeId) -> ([u8; 32], NodeId) {
    let hash =
        Sha256::new().chain_update(webhook.as_uuid().as_bytes()).chain_update(node.as_uuid().as_bytes());
    (hash.finalize().into(), node)
}

/// A node's place among those that send to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// From 0.
    rank: u32,
    nodes: u32,
}

impl Share {
    /// The share of a node that is alone.
    pub(super) const WHOLE: Self = Self { rank: 0, nodes: 1 };

    /// The share of the node at a place from 0 among so many.
    #[cfg(test)]
    pub(super) fn nth(rank: u32, nodes: u32) -> Self {
        assert!(rank < nodes);
        Self { rank, nodes }
    }

    /// Whether no other node stands before this one.
    pub(super) fn is_first(self) -> bool {
        self.rank == 0
    }

    pub(super) fn is_whole(self) -> bool {
        self.nodes == 1
    }

    /// This node's part of a number of things. The parts of all nodes add up to `whole`.
    pub(super) fn part_of(self, whole: u32) -> u32 {
        whole / self.nodes + u32::from(self.rank < whole % self.nodes)
    }

    /// How many attempts may be in flight from here, of a webhook that takes `limit` and began with `start`.
    pub(super) fn in_flight_max(self, limit: u32, start: u32) -> u32 {
        self.part_of(limit).max(u32::from(limit >= start))
    }

    /// From one turn of this node to its next, where all take turns that come `interval` after each other.
    pub(super) fn turn(self, interval: Duration) -> Duration {
        interval.saturating_mul(self.nodes)
    }

    /// Until this node's first turn, where all begin to wait at the same time.
    pub(super) fn first_turn(self, interval: Duration) -> Duration {
        interval.saturating_mul(self.rank + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::*;

    fn webhook(n: u128) -> WebhookId {
        WebhookId::from_uuid(Uuid::from_u128(n))
    }

    /// Nodes with ids that differ.
    fn nodes() -> impl Strategy<Value = Vec<NodeId>> {
        proptest::collection::btree_set(any::<u128>(), 1..9)
            .prop_map(|ids| ids.into_iter().map(|id| NodeId::from_uuid(Uuid::from_u128(id))).collect())
    }

    /// Each node's share, in the order of `nodes`; the others reach each in an order of its own.
    fn shares(nodes: &[NodeId], webhook: WebhookId) -> Vec<Share> {
        let share = |(place, own): (usize, &NodeId)| {
            let mut seen = nodes.to_vec();
            seen.rotate_left(place);
            let mut neighbours = Neighbours::unknown(*own);
            assert!(neighbours.learn(seen));
            neighbours.share_of(webhook)
        };
        nodes.iter().enumerate().map(share).collect()
    }

    /// The most that each of them may have in flight.
    fn in_flight_max(nodes: &[NodeId], id: WebhookId, limit: u32, start: u32) -> Vec<u32> {
        shares(nodes, id).into_iter().map(|share| share.in_flight_max(limit, start)).collect()
    }

    #[test]
    fn the_order_of_nodes_is_the_same_in_every_version() {
        let nodes: Vec<_> = (1..=4).map(|id| NodeId::from_uuid(Uuid::from_u128(id))).collect();
        let ranks = |id| shares(&nodes, webhook(id)).into_iter().map(|share| share.rank).collect::<Vec<_>>();
        // Any other program that sorts the SHA-256 of both ids' bytes finds this order.
        assert_eq!(ranks(1), [1, 2, 3, 0]);
        assert_eq!(ranks(2), [3, 1, 0, 2]);
    }

    #[test]
    fn a_node_that_others_do_not_see_counts_itself() {
        let (own, other) = (NodeId::from_uuid(Uuid::from_u128(1)), NodeId::from_uuid(Uuid::from_u128(2)));
        let mut neighbours = Neighbours::unknown(own);
        assert!(!neighbours.are_known());
        assert!(neighbours.learn(vec![other]));
        assert_eq!(neighbours.share_of(webhook(1)).nodes, 2);
        assert!(!neighbours.learn(vec![own, other]), "that is no news");
        assert!(neighbours.learn(Vec::new()));
        assert_eq!(neighbours.share_of(webhook(1)), Share::WHOLE);
    }

    #[test]
    fn no_node_is_first_everywhere() {
        let nodes: Vec<_> = (1..=4).map(|id| NodeId::from_uuid(Uuid::from_u128(id))).collect();
        let mut first = [0; 4];
        for id in 0..4000 {
            let place = shares(&nodes, webhook(id)).iter().position(|share| share.rank == 0);
            first[place.expect("one is")] += 1;
        }
        assert!(first.iter().all(|count| (900..1100).contains(count)), "{first:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn shares_come_to_what_is_promised(
            nodes in nodes(), id in any::<u128>(), limit in 1..40_u32, start in 1..5_u32,
        ) {
            let each = in_flight_max(&nodes, webhook(id), limit, start);
            let all: u32 = each.iter().sum();
            let count = u32::try_from(nodes.len()).expect("few");
            if limit < start {
                prop_assert_eq!(all, limit);
            } else {
                prop_assert_eq!(all, limit.max(count));
                prop_assert!(each.iter().all(|share| *share > 0));
            }
            let (most, least) = (each.iter().max().expect("some"), each.iter().min().expect("some"));
            prop_assert!(most - least <= 1, "not evenly: {:?}", each);
        }

        #[test]
        fn turns_come_one_after_the_other(nodes in nodes(), id in any::<u128>(), rounds in 1..5_u32) {
            let wait = Duration::from_secs(30);
            let mut turns: Vec<_> = shares(&nodes, webhook(id))
                .into_iter()
                .flat_map(|share| (0..rounds).map(move |n| share.first_turn(wait) + share.turn(wait) * n))
                .collect();
            turns.sort();
            let count = u32::try_from(nodes.len()).expect("few") * rounds;
            prop_assert_eq!(turns, (1..=count).map(|n| wait * n).collect::<Vec<_>>());
        }

        /// Those that stay keep their order: who stood behind the one that left moves up by one, and nobody else moves.
        #[test]
        fn who_leaves_changes_only_what_it_must(nodes in nodes(), id in any::<u128>(), leaves in any::<usize>()) {
            let leaves = leaves % nodes.len();
            let before = shares(&nodes, webhook(id));
            let gone = before[leaves].rank;
            let mut rest = nodes.clone();
            rest.remove(leaves);
            let mut stayed = before.clone();
            stayed.remove(leaves);
            for (share, before) in shares(&rest, webhook(id)).into_iter().zip(stayed) {
                prop_assert_eq!(share.rank, before.rank - u32::from(before.rank > gone));
            }
        }
    }
}
