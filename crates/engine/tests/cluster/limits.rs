//! The limits of a webhook for all nodes together.

use std::time::Duration;

use stackbell_model::delivery::Outcome;

use crate::world::{Cluster, answered, timed_out};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes events through every node, then has each node look for deliveries that others left.
fn load(cluster: &mut Cluster, nodes: usize, events: usize) {
    for n in 0..events {
        cluster.publish(n % nodes);
    }
    let look = cluster.config.lanes_search_interval;
    cluster.now = cluster.now.after(look);
    for node in 0..nodes {
        cluster.turn(node, vec![stackbell_engine::core::Input::Tick]);
    }
}

#[test]
fn each_node_sends_while_nothing_bad_is_known() {
    for nodes in 1..=5 {
        let mut cluster = Cluster::acquainted(nodes as u128);
        cluster.webhook();
        load(&mut cluster, nodes, 50);
        let start = cluster.config.lane_limit_start as usize;
        let in_flight = cluster.in_flight();
        assert_eq!(in_flight.iter().sum::<usize>(), start.max(nodes), "{in_flight:?}");
        assert!(in_flight.iter().all(|count| *count > 0), "{in_flight:?}");
    }
}

#[test]
fn a_webhook_that_times_out_is_sent_to_by_one_node_alone() {
    let mut cluster = Cluster::acquainted(3);
    cluster.webhook();
    load(&mut cluster, 3, 50);
    assert_eq!(cluster.network.len(), 3);
    // These are fewer failures than open the circuit breaker.
    cluster.end_all(&timed_out());
    let mut alone = None;
    for _ in 0..5 {
        load(&mut cluster, 3, 3);
        let in_flight = cluster.in_flight();
        assert_eq!(in_flight.iter().sum::<usize>(), 1, "{in_flight:?}");
        let node = in_flight.iter().position(|count| *count == 1);
        assert_eq!(alone.replace(node).unwrap_or(node), node, "always the same one");
        // Slow responses do not change the limit.
        cluster.end_all_after(SECOND * 14, &answered(200));
    }
}

/// A node without a share of the limit makes an attempt once in a while. It thus finds out that the endpoint works again.
#[test]
fn an_endpoint_that_is_well_again_is_sent_to_by_all() {
    let mut cluster = Cluster::acquainted(3);
    cluster.webhook();
    load(&mut cluster, 3, 50);
    cluster.end_all(&timed_out());
    cluster.pass(cluster.config.breaker_wait * 4, &answered(200));
    load(&mut cluster, 3, 60);
    let in_flight = cluster.in_flight();
    assert_eq!(in_flight.iter().filter(|count| **count == 1).count(), 2, "two try: {in_flight:?}");
    // A node with quick responses prefetches, so sometimes nothing is left for the others to attempt.
    for _ in 0..6 {
        cluster.pass(SECOND * 10, &answered(200));
        load(&mut cluster, 3, 60);
    }
    assert!(cluster.in_flight().iter().all(|count| *count > 1), "{:?}", cluster.in_flight());
}

#[test]
fn the_breaker_opens_after_the_failures_of_all() {
    for nodes in 1..=4 {
        let mut cluster = Cluster::acquainted(nodes as u128);
        cluster.webhook();
        load(&mut cluster, nodes, 100);
        cluster.pass(cluster.config.breaker_wait - SECOND, &answered(500));
        let failures = cluster.config.breaker_failures as usize;
        let under_way = (cluster.config.lane_limit_max as usize).max(nodes);
        let sent = cluster.sent.len();
        assert!((failures..failures + under_way).contains(&sent), "{sent} from {nodes} nodes");
    }
}

#[test]
fn an_open_breaker_lets_one_attempt_through_in_its_time() {
    for nodes in 1..=4 {
        let mut cluster = Cluster::acquainted(nodes as u128);
        cluster.webhook();
        load(&mut cluster, nodes, 100);
        let wait = cluster.config.breaker_wait;
        cluster.pass(wait * 10, &answered(500));
        let before = cluster.sent.len();
        cluster.pass(wait * 40, &answered(500));
        let sent = cluster.sent.len() - before;
        assert!((36..=44).contains(&sent), "{sent} from {nodes} nodes");
    }
}

#[test]
fn a_breaker_that_our_own_fault_opened_stays_open_whatever_the_store_says() {
    let mut cluster = Cluster::acquainted(2);
    cluster.webhook();
    cluster.publish(0);
    cluster.end_all(&Outcome::OurFault { text: "no master key".into() });
    let before = cluster.sent.len();
    // The webhook is healthy in the store, and a delivery is due.
    cluster.publish(0);
    assert_eq!(cluster.sent.len(), before);
    // Attempts of another node do not affect this node's circuit breaker.
    cluster.publish(1);
    assert!(cluster.sent[before..].iter().all(|(_, node)| *node == 1), "{:?}", cluster.sent);
}

#[test]
fn remaining_nodes_take_over_from_a_node_that_leaves() {
    let mut cluster = Cluster::acquainted(3);
    cluster.webhook();
    load(&mut cluster, 3, 50);
    cluster.end_all(&timed_out());
    load(&mut cluster, 3, 3);
    let alone = cluster.network[0].node;
    cluster.network.clear();
    let rest: Vec<_> = (0..3).filter(|node| *node != alone).collect();
    cluster.meet(rest);
    assert_eq!(cluster.network.len(), 1, "{:?}", cluster.in_flight());
    assert_ne!(cluster.network[0].node, alone);
}
