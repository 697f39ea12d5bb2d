//! News from other nodes, and changes that a node finds by itself.

use std::time::Duration;

use stackbell_engine::core::Input;

use crate::world::{Cluster, answered};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nothing_is_sent_before_it_is_known_who_sends() {
    let mut cluster = Cluster::of(1);
    cluster.webhook();
    assert_eq!(cluster.publish(0), 1);
    cluster.pass(SECOND * 10, &answered(200));
    assert_eq!(cluster.sent.len(), 0);
    cluster.meet(vec![0]);
    assert_eq!(cluster.sent.len(), 1);
}

#[test]
fn deliveries_committed_while_sending_is_held_are_not_begun() {
    let mut cluster = Cluster::acquainted(2);
    cluster.webhook();
    // Both nodes know the webhook, and have checked whether sending is held.
    for node in [0, 1] {
        cluster.publish(node);
        cluster.end_all(&answered(200));
    }
    assert_eq!(cluster.sent.len(), 2);
    cluster.set_held(true);
    for _ in 0..10 {
        assert_eq!(cluster.publish(1), 1);
    }
    assert_eq!(cluster.sent.len(), 2);
    cluster.set_held(false);
    cluster.pass(cluster.config.sending_look_interval + cluster.config.lease_for, &answered(200));
    assert_eq!(cluster.sent.len(), 12);
}

#[test]
fn deliveries_leased_while_sending_is_held_are_not_begun() {
    let mut cluster = Cluster::acquainted(1);
    cluster.webhook();
    cluster.publish(0);
    cluster.end_all(&answered(500));
    cluster.set_held(true);
    // The attempt is due before the node checks again whether sending is held.
    let soon = SECOND * 7;
    assert!(soon < cluster.config.sending_look_interval);
    cluster.pass(soon, &answered(200));
    assert_eq!(cluster.sent.len(), 1);
    cluster.set_held(false);
    cluster.pass(cluster.config.sending_look_interval + cluster.config.lease_for, &answered(200));
    assert_eq!(cluster.sent.len(), 2);
}

#[test]
fn a_node_limits_its_searches_under_constant_wake_ups() {
    let mut cluster = Cluster::acquainted(1);
    cluster.pass(SECOND * 10, &answered(200));
    let before = cluster.searches(0);
    for _ in 0..200 {
        cluster.pass(SECOND / 100, &answered(200));
        cluster.turn(0, vec![Input::WokenUp]);
    }
    // Two seconds with at most one search every 200 ms.
    let searches = cluster.searches(0) - before;
    assert!((9..=11).contains(&searches), "{searches}");
}

#[test]
fn a_woken_node_finds_deliveries_that_another_node_left() {
    let mut cluster = Cluster::acquainted(2);
    cluster.webhook();
    cluster.meet(vec![0]);
    // Node 0 takes as many as it may; the rest is for any free node.
    for _ in 0..4 {
        cluster.publish(0);
    }
    assert_eq!(cluster.in_flight(), [2, 0]);
    cluster.turn(1, vec![Input::WokenUp]);
    assert_eq!(cluster.in_flight(), [2, 0], "it has just looked");
    cluster.now = cluster.now.after(cluster.config.woken_search_interval);
    cluster.turn(1, vec![Input::Tick]);
    assert_eq!(cluster.in_flight(), [2, 1]);
}
