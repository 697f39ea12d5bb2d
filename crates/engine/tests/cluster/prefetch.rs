//! Prefetched deliveries: which node holds them, and when it returns them.

use std::time::Duration;

use bytes::Bytes;
use stackbell_engine::core::{CoreConfig, Input};
use stackbell_model::ids::WebhookId;

use crate::world::{Cluster, answered};

/// More events than may be in flight to one endpoint.
const EVENTS: usize = 40;

/// An endpoint that has proven quick at the first of two nodes.
fn quick(config: CoreConfig) -> (Cluster, WebhookId) {
    let mut cluster = Cluster::with(config, 2);
    cluster.meet(vec![0, 1]);
    let webhook = cluster.webhook();
    for _ in 0..10 {
        publish(&mut cluster);
        deliver(&mut cluster);
    }
    cluster.sent.clear();
    (cluster, webhook)
}

/// Publishes more events than may be in flight. No attempt ends.
fn publish(cluster: &mut Cluster) {
    for _ in 0..EVENTS {
        assert_eq!(cluster.publish(0), 1);
    }
}

/// Ends all attempts with 200, without the passing of time.
fn deliver(cluster: &mut Cluster) {
    while !cluster.network.is_empty() {
        cluster.end_all(&answered(200));
    }
}

fn default() -> CoreConfig {
    CoreConfig::default().shared()
}

/// A quick endpoint with as many attempts in flight as allowed, and the other deliveries prefetched.
fn with_some_ahead() -> (Cluster, WebhookId) {
    let (mut cluster, webhook) = quick(default());
    publish(&mut cluster);
    assert!(cluster.network.len() < EVENTS, "{}", cluster.network.len());
    assert_eq!(cluster.leasable(webhook), 0);
    (cluster, webhook)
}

#[test]
fn prefetched_deliveries_are_sent_once_and_as_soon_as_there_is_room() {
    let (mut cluster, _) = with_some_ahead();
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS);
    assert!(cluster.sent.iter().all(|(at, node)| *at == cluster.now && *node == 0));
}

#[test]
fn a_stopping_node_gives_prefetched_deliveries_back() {
    let (mut cluster, webhook) = with_some_ahead();
    cluster.turn(0, vec![Input::Stop]);
    assert_eq!(cluster.leasable(webhook), EVENTS - cluster.network.len());
    deliver(&mut cluster);
    assert!(cluster.sent.len() < EVENTS);
    // The other node searches at its usual interval.
    cluster.pass(cluster.config.lanes_search_interval, &answered(200));
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS);
}

#[test]
fn an_edit_holds_for_what_was_ahead() {
    let (mut cluster, webhook) = with_some_ahead();
    let begun = cluster.network.len();
    cluster.edit(webhook, "https://example.com/other");
    cluster.tell_edited(0, webhook);
    cluster.end_all(&answered(200));
    while !cluster.network.is_empty() {
        for under_way in &cluster.network {
            assert_eq!(under_way.send.webhook.payload_url.expose(), "https://example.com/other");
        }
        cluster.end_all(&answered(200));
    }
    assert!(begun < EVENTS);
    assert_eq!(cluster.sent.len(), EVENTS);
}

#[test]
fn an_edit_holds_for_what_was_just_committed() {
    let (mut cluster, webhook) = with_some_ahead();
    let begun = cluster.network.len();
    cluster.after_commit(move |cluster| {
        cluster.edit(webhook, "https://example.com/other");
        cluster.tell_edited(0, webhook);
    });
    assert_eq!(cluster.publish(0), 1);
    let mut others = 0;
    while !cluster.network.is_empty() {
        let is_other = |url: &str| url == "https://example.com/other";
        others +=
            cluster.network.iter().filter(|one| is_other(one.send.webhook.payload_url.expose())).count();
        cluster.end_all(&answered(200));
    }
    assert_eq!(others, EVENTS + 1 - begun);
}

#[test]
fn prefetched_deliveries_wait_while_sending_is_held() {
    let (mut cluster, _) = with_some_ahead();
    let begun = cluster.network.len();
    cluster.set_held(true);
    cluster.turn(0, vec![Input::SendingChanged]);
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), begun);
    cluster.set_held(false);
    cluster.turn(0, vec![Input::SendingChanged]);
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS, "none waits for the end of a lease");
}

#[test]
fn prefetched_deliveries_are_given_back_after_a_second() {
    let (mut cluster, webhook) = with_some_ahead();
    cluster.now = cluster.now.after(Duration::from_millis(1100));
    cluster.turn(0, vec![Input::Tick]);
    assert_eq!(cluster.leasable(webhook), EVENTS - cluster.network.len());
}

#[test]
fn large_deliveries_are_not_had_ahead() {
    let (mut cluster, webhook) = quick(default());
    cluster.payload = Bytes::from(vec![b' '; 33 * 1024]);
    publish(&mut cluster);
    assert_eq!(cluster.leasable(webhook), EVENTS - cluster.network.len());
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS);
}

#[test]
fn an_organization_has_so_many_places_and_all_arrives() {
    let max = 8;
    let (mut cluster, webhook) = quick(CoreConfig { organization_prefetch_max: max, ..default() });
    publish(&mut cluster);
    let ahead = EVENTS - cluster.network.len() - cluster.leasable(webhook);
    assert!((1..=max as usize).contains(&ahead), "{ahead}");
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS);
}

#[test]
fn deliveries_that_could_not_be_given_back_are_sent_after_their_lease() {
    let (mut cluster, webhook) = with_some_ahead();
    let begun = cluster.network.len();
    cluster.can_release = false;
    cluster.tell_edited(0, webhook);
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), begun);
    cluster.can_release = true;
    cluster.pass(cluster.config.lease_for + Duration::from_secs(1), &answered(200));
    deliver(&mut cluster);
    assert_eq!(cluster.sent.len(), EVENTS);
}

#[test]
fn a_prefetched_delivery_that_is_redelivered_is_not_sent_again() {
    let (mut cluster, webhook) = with_some_ahead();
    let before = cluster.network.len();
    cluster.redeliver(0, webhook);
    assert_eq!(cluster.network.len(), before + 1);
    cluster.pass(cluster.config.lease_for + Duration::from_secs(1), &answered(200));
    assert_eq!(cluster.sent.len(), EVENTS);
}
