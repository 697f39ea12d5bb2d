//! Endpoints that ask to wait, and the events that end the wait.

use std::time::Duration;

use stackbell_model::ids::WebhookId;
use stackbell_model::names::DisplayName;
use stackbell_model::webhook::PayloadUrl;

use crate::world::{Cluster, answered, throttled};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// One webhook whose endpoint asked to wait for a minute, in its response to the first node.
fn asked(nodes: u128) -> (Cluster, WebhookId) {
    let mut cluster = Cluster::acquainted(nodes);
    let webhook = cluster.webhook();
    cluster.publish(0);
    cluster.end_all(&throttled(60));
    assert_eq!(cluster.sent.len(), 1);
    cluster.now = cluster.now.after(MILLISECOND);
    (cluster, webhook)
}

#[test]
fn no_delivery_of_the_webhook_goes_before_the_wait_is_over() {
    for nodes in 1..=3 {
        let (mut cluster, webhook) = asked(nodes);
        for n in 0..6 {
            cluster.publish(n % nodes as usize);
        }
        cluster.pass(SECOND * 60 - MILLISECOND * 2, &answered(200));
        assert_eq!(cluster.sent.len(), 1, "{nodes} nodes");
        let event = cluster.last_event.expect("one was published");
        assert_eq!(cluster.delivery(webhook, event).attempts_spent, 0);
        cluster.pass(SECOND * 10, &answered(200));
        assert_eq!(cluster.sent.len(), 8, "{nodes} nodes");
    }
}

#[test]
fn other_webhooks_do_not_wait() {
    let mut cluster = Cluster::acquainted(1);
    let slow = cluster.webhook();
    cluster.webhook();
    cluster.publish(0);
    cluster.end_each(MILLISECOND, |id| if id == slow { throttled(60) } else { answered(200) });
    cluster.publish(0);
    assert_eq!(cluster.network.len(), 1);
    assert_ne!(cluster.network[0].send.webhook.id, slow);
}

/// Two requests are in flight when the first response arrives.
fn check_second_answer(second: &stackbell_model::delivery::Outcome) {
    let mut cluster = Cluster::acquainted(1);
    cluster.webhook();
    for _ in 0..4 {
        cluster.publish(0);
    }
    assert_eq!(cluster.network.len(), 2);
    cluster.end_first(&throttled(60));
    cluster.end_first(second);
    cluster.pass(SECOND * 60 - MILLISECOND, &answered(200));
    assert_eq!(cluster.sent.len(), 2, "after {second:?}");
    cluster.pass(SECOND * 10, &answered(200));
    assert!(cluster.sent.len() >= 5, "after {second:?}");
}

#[test]
fn requests_in_flight_do_not_shorten_the_wait() {
    check_second_answer(&throttled(1));
    check_second_answer(&answered(200));
    check_second_answer(&answered(500));
}

/// A commit in progress adds a delivery that was meant to be sent at once.
#[test]
fn a_new_delivery_waits_although_it_was_to_go_at_once() {
    let mut cluster = Cluster::acquainted(1);
    cluster.webhook();
    cluster.publish(0);
    cluster.before_commit(|cluster| cluster.end_first(&throttled(60)));
    cluster.publish(0);
    cluster.pass(SECOND * 59, &answered(200));
    assert_eq!(cluster.sent.len(), 1);
    cluster.pass(SECOND * 10, &answered(200));
    assert_eq!(cluster.sent.len(), 3);
}

#[test]
fn pings_and_redeliveries_are_sent_at_once() {
    let (mut cluster, webhook) = asked(1);
    cluster.ping(0, webhook);
    cluster.redeliver(0, webhook);
    assert_eq!(cluster.network.len(), 2);
    cluster.end_all(&answered(500));
    cluster.pass(SECOND * 60 - MILLISECOND * 2, &answered(200));
    assert_eq!(cluster.sent.len(), 3, "a failure ends no wait");
}

#[test]
fn a_ping_that_asks_to_wait_holds_the_queue() {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook();
    cluster.ping(0, webhook);
    cluster.end_all(&throttled(60));
    cluster.publish(0);
    cluster.pass(SECOND * 60 - MILLISECOND, &answered(200));
    assert_eq!(cluster.sent.len(), 1);
    cluster.pass(SECOND * 5, &answered(200));
    assert_eq!(cluster.sent.len(), 2);
}

/// Waiting deliveries are sent as soon as a person acts.
fn check_goes_on(what: &str, expected: usize, see_to_it: impl Fn(&mut Cluster, WebhookId)) {
    for nodes in 1..=2 {
        let (mut cluster, webhook) = asked(nodes);
        for _ in 0..3 {
            cluster.publish(0);
        }
        see_to_it(&mut cluster, webhook);
        cluster.pass(SECOND * 10, &answered(200));
        assert_eq!(cluster.sent.len(), expected, "{what}, {nodes} nodes");
    }
}

#[test]
fn a_person_ends_a_wait() {
    check_goes_on("another URL", 5, |cluster, webhook| {
        cluster.edit(webhook, "https://example.com/other");
        cluster.tell_edited(0, webhook);
        cluster.end_all(&answered(200));
    });
    check_goes_on("off and on", 5, |cluster, webhook| {
        for active in [false, true] {
            cluster.change(webhook, |webhook| webhook.active = active);
            cluster.tell_edited(0, webhook);
        }
        cluster.end_all(&answered(200));
    });
    check_goes_on("a ping", 6, |cluster, webhook| {
        cluster.ping(0, webhook);
        cluster.end_first(&answered(200));
    });
}

#[test]
fn the_breaker_waits_no_longer_than_asked() {
    for nodes in 1..=3 {
        let mut cluster = Cluster::acquainted(nodes);
        cluster.webhook();
        for n in 0..40 {
            cluster.publish(n % nodes as usize);
        }
        cluster.pass(SECOND * 20, &throttled(1));
        let before = cluster.sent.len();
        cluster.pass(SECOND * 20, &throttled(1));
        let sent = cluster.sent.len() - before;
        assert!((15..=21).contains(&sent), "{sent} from {nodes} nodes");
        cluster.pass(SECOND * 2, &answered(200));
        assert!(cluster.sent.len() > before + sent + 1, "its breaker is closed");
    }
}

/// A suspended webhook whose endpoint responded 410, with one event that was sent and five that are held.
fn suspended(nodes: u128, due_later: bool) -> (Cluster, WebhookId) {
    let mut cluster = Cluster::acquainted(nodes);
    let webhook = cluster.webhook();
    cluster.publish(0);
    if due_later {
        // The next attempt is due an hour later.
        for _ in 0..5 {
            cluster.end_all(&answered(500));
            cluster.wake(Duration::from_secs(2100));
        }
    }
    cluster.end_all(&answered(410));
    assert!(cluster.stored(webhook).is_held());
    for n in 0..5 {
        cluster.publish(n % nodes as usize);
    }
    assert_eq!(cluster.network.len(), 0, "it is suspended");
    cluster.sent.clear();
    (cluster, webhook)
}

fn check_probe_first(what: &str, see_to_it: impl Fn(&mut Cluster, WebhookId)) {
    for (nodes, due_later) in [(1, false), (1, true), (2, false), (3, true)] {
        let (mut cluster, webhook) = suspended(nodes, due_later);
        see_to_it(&mut cluster, webhook);
        assert!(!cluster.stored(webhook).is_held(), "{what}");
        cluster.turn(0, Vec::new());
        cluster.wake(SECOND);
        assert_eq!(cluster.network.len(), 1, "{what}: a probe, {nodes} nodes");
        let sends_to = &cluster.network[0].send.webhook.payload_url;
        assert_eq!(*sends_to, cluster.stored(webhook).payload_url, "{what}");
        cluster.end_all(&answered(200));
        cluster.pass(SECOND * 4, &answered(200));
        assert_eq!(cluster.sent.len(), 6, "{what}: the rest, {nodes} nodes, due later: {due_later}");
    }
}

#[test]
fn a_suspended_webhook_goes_on_when_a_person_sees_to_it() {
    check_probe_first("another URL", |cluster, webhook| {
        cluster.edit(webhook, "https://example.com/other");
        cluster.tell_edited(0, webhook);
    });
    check_probe_first("another URL while off, then on", |cluster, webhook| {
        cluster.change(webhook, |webhook| {
            webhook.active = false;
            webhook.payload_url = PayloadUrl::from_stored("https://example.com/other");
        });
        cluster.tell_edited(0, webhook);
        cluster.wake(SECOND);
        assert_eq!(cluster.network.len(), 0, "it is off");
        cluster.change(webhook, |webhook| webhook.active = true);
        cluster.tell_edited(0, webhook);
    });
    check_probe_first("off and on", |cluster, webhook| {
        for active in [false, true] {
            cluster.change(webhook, |webhook| webhook.active = active);
            cluster.tell_edited(0, webhook);
        }
    });
}

#[test]
fn an_edit_of_anything_else_resets_nothing() {
    let (mut cluster, webhook) = suspended(1, false);
    cluster.change(webhook, |webhook| {
        webhook.display_name = DisplayName::parse("another").expect("a name");
    });
    cluster.tell_edited(0, webhook);
    cluster.wake(Duration::from_secs(3000));
    assert_eq!(cluster.sent.len(), 0);
    assert!(cluster.stored(webhook).is_held());
}

/// An endpoint that still fails gets only the probe and the deliveries that are due.
#[test]
fn later_deliveries_keep_their_due_time_while_the_endpoint_fails() {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook();
    for _ in 0..3 {
        cluster.publish(0);
    }
    // All three are due an hour later.
    cluster.pass(Duration::from_secs(2 * 3600), &answered(500));
    cluster.end_all(&answered(500));
    let before = cluster.sent.len();
    cluster.edit(webhook, "https://example.com/other");
    cluster.tell_edited(0, webhook);
    assert_eq!(cluster.network.len(), 1, "one at once");
    cluster.pass(SECOND * 30, &answered(500));
    assert_eq!(cluster.sent.len(), before + 1);
}

/// The circuit breaker is open, and no delivery is due for a while.
#[test]
fn another_url_or_a_ping_sends_what_waits_for_the_breaker() {
    for is_pinged in [true, false] {
        let mut cluster = Cluster::acquainted(1);
        let webhook = cluster.webhook();
        for _ in 0..4 {
            cluster.publish(0);
        }
        cluster.pass(Duration::from_secs(2000), &answered(500));
        cluster.end_all(&answered(500));
        let before = cluster.sent.len();
        if is_pinged {
            cluster.ping(0, webhook);
            cluster.end_first(&answered(200));
        } else {
            cluster.edit(webhook, "https://example.com/other");
            cluster.tell_edited(0, webhook);
        }
        cluster.pass(SECOND * 3, &answered(200));
        let sent = cluster.sent.len() - before;
        assert_eq!(sent, 4 + usize::from(is_pinged), "pinged: {is_pinged}");
    }
}

/// A node that has just started does not know why a webhook waits.
#[test]
fn a_node_that_has_seen_nothing_has_a_webhook_go_on() {
    let mut cluster = Cluster::acquainted(2);
    let webhook = cluster.webhook();
    cluster.publish(0);
    // The next attempt is due an hour later.
    for _ in 0..5 {
        cluster.end_all(&answered(500));
        cluster.turn_after(0, Duration::from_secs(2100));
    }
    cluster.end_all(&answered(500));
    let before = cluster.sent.len();
    cluster.edit(webhook, "https://example.com/other");
    cluster.tell_set_going(1, webhook);
    assert_eq!((cluster.sent.len(), cluster.network.len()), (before + 1, 1));
}
