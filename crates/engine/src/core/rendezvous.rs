//! A node's share of a webhook's limits, if several nodes send.
//!
//! Each node computes its own share from the list of nodes, by the same rule, without a coordinator. Rendezvous hashing
//! orders the nodes separately for each webhook. A node that joins or leaves does not change the order of the others, and
//! no node is first for all webhooks.
//!
//! These guarantees hold while all nodes see the same nodes and know the same about an endpoint:
//!
//! - **In flight.** A webhook with the limit `L` has at most `L` attempts in flight while `L` is below its start value.
//!   From the start value on, the maximum is `max(L, nodes)`, so that each node has at least one.
//!   A node whose share is zero makes one test attempt in each [`Share::turn`].
//! - **Order.** Ordered deliveries are sent by the first node alone, one at a time and at the whole rate.
//! - **Rate.** All nodes together keep to the rate. After a rest, the burst is `max(burst, nodes)`.
//! - **Circuit breakers.** An open breaker lets about one attempt pass in each [`super::CoreConfig::breaker_wait`].
//!
//! Nodes learn of each other within seconds. Until then, each node uses the list that it saw last: a new node sends in
//! addition to the others' full shares, and the share of a lost node stays unused.

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
    /// The neighbours of a node that does not share its store.
    pub fn alone(own: NodeId) -> Self {
        Self { own, nodes: Some(vec![own]) }
    }

    /// The neighbours of a node that shares its store with nodes that it does not know yet.
    pub fn unknown(own: NodeId) -> Self {
        Self { own, nodes: None }
    }

    /// True if the list of nodes is known.
    pub(super) fn are_known(&self) -> bool {
        self.nodes.is_some()
    }

    /// Learns the list of running nodes. Returns true if it has changed.
    pub(super) fn learn(&mut self, mut nodes: Vec<NodeId>) -> bool {
        // This node counts itself, even if the list does not have it yet.
        nodes.push(self.own);
        nodes.sort_unstable();
        nodes.dedup();
        let nodes = Some(nodes);
        let is_news = self.nodes != nodes;
        self.nodes = nodes;
        is_news
    }

    /// This node's share of a webhook. Costs a hash for each node, unless there is only one.
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

/// A node's score for a webhook; the highest is first. Scores are unique, because the node's id is the last part.
fn score(webhook: WebhookId, node: NodeId) -> ([u8; 32], NodeId) {
    let hash =
        Sha256::new().chain_update(webhook.as_uuid().as_bytes()).chain_update(node.as_uuid().as_bytes());
    (hash.finalize().into(), node)
}

/// A node's rank among the nodes that send to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// From 0.
    rank: u32,
    nodes: u32,
}

impl Share {
    /// The share of a single node.
    pub(super) const WHOLE: Self = Self { rank: 0, nodes: 1 };

    /// The share of the node at a place from 0 among so many.
    #[cfg(test)]
    pub(super) fn nth(rank: u32, nodes: u32) -> Self {
        assert!(rank < nodes);
        Self { rank, nodes }
    }

    /// True if no other node is before this one.
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

    /// The maximum number of this node's attempts in flight, for a webhook with the limit `limit` and its start value `start`.
    pub(super) fn in_flight_max(self, limit: u32, start: u32) -> u32 {
        self.part_of(limit).max(u32::from(limit >= start))
    }

    /// The time between two turns of this node, if the turns of all nodes are `interval` apart.
    pub(super) fn turn(self, interval: Duration) -> Duration {
        interval.saturating_mul(self.nodes)
    }

    /// The time until this node's first turn, if all nodes begin to wait at the same time.
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

    /// Each node's share, in the order of `nodes`. Each node gets the list in a different order.
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
        // Any implementation that sorts the SHA-256 hashes of both ids' bytes gets this order.
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

        /// Nodes behind the one that left move up by one. The other nodes keep their ranks.
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
