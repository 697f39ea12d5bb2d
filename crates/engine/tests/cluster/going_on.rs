//! Actions of a person that release a webhook's pending deliveries: edits, pings, retries and recoveries.

use std::time::Duration;

use stackbell_engine::core::SendNow;
use stackbell_model::delivery::{Outcome, State};
use stackbell_model::health::Health;
use stackbell_model::ids::{DataKeyId, EventId, WebhookId};
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::StoredSecret;
use uuid::Uuid;

use crate::world::{Cluster, answered, throttled, timed_out};

const SECOND: Duration = Duration::from_secs(1);

fn secret(fingerprint: u8) -> Option<StoredSecret> {
    let sealed = Sealed { key: DataKeyId::from_uuid(Uuid::from_u128(7)), bytes: Box::from([fingerprint]) };
    Some(StoredSecret { sealed, fingerprint: [fingerprint; 32], previous: None })
}

/// One webhook with an open circuit breaker and four deliveries in backoff. The next attempt is due in half a minute.
fn failing() -> (Cluster, WebhookId) {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook_with(|webhook| webhook.secret = secret(1));
    for _ in 0..4 {
        cluster.publish(0);
    }
    cluster.pass(Duration::from_secs(2000), &answered(401));
    cluster.end_all(&answered(401));
    cluster.sent.clear();
    (cluster, webhook)
}

fn check_edit(what: &str, edit: impl Fn(&mut Cluster, WebhookId)) {
    let (mut cluster, webhook) = failing();
    edit(&mut cluster, webhook);
    cluster.tell_edited(0, webhook);
    assert_eq!(cluster.network.len(), 1, "{what}: one at once");
    cluster.pass(SECOND * 3, &answered(200));
    assert_eq!(cluster.sent.len(), 4, "{what}: then the others");
}

#[test]
fn an_edit_of_the_endpoint_closes_the_breaker() {
    check_edit("another secret", |cluster, webhook| {
        cluster.change(webhook, |webhook| webhook.secret = secret(2));
    });
    check_edit("no secret", |cluster, webhook| cluster.change(webhook, |webhook| webhook.secret = None));
    check_edit("off and on, seen once", |cluster, webhook| {
        for active in [false, true] {
            cluster.change(webhook, |webhook| webhook.active = active);
        }
    });
    check_edit("another URL", |cluster, webhook| cluster.edit(webhook, "https://example.com/other"));
}

/// The second edit comes while the webhooks are read because of the first.
#[test]
fn an_edit_during_a_read_is_read_too() {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook();
    for _ in 0..5 {
        cluster.publish(0);
        cluster.end_all(&answered(500));
    }
    cluster.publish(0);
    assert_eq!(cluster.network.len(), 0, "the breaker is open");
    cluster.change(webhook, |webhook| webhook.active = false);
    cluster.after_load(move |cluster| {
        cluster.change(webhook, |webhook| webhook.active = true);
        cluster.tell_set_going(0, webhook);
    });
    cluster.tell_edited(0, webhook);
    assert_eq!(cluster.network.len(), 1, "the breaker is closed at once");
}

#[test]
fn a_secret_that_is_sealed_again_is_the_same() {
    let (mut cluster, webhook) = failing();
    cluster.change(webhook, |webhook| {
        webhook.secret.as_mut().expect("it has one").sealed.bytes = Box::from([9]);
    });
    cluster.tell_edited(0, webhook);
    assert_eq!(cluster.network.len(), 0);
}

/// A webhook with one delivery in backoff, whose endpoint works again: its circuit breaker counts no failure.
fn backing_off() -> (Cluster, WebhookId, EventId) {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook();
    cluster.publish(0);
    let event = cluster.last_event.expect("one was published");
    for _ in 0..3 {
        cluster.end_all(&answered(500));
        cluster.wake(SECOND * 150);
    }
    cluster.end_all(&answered(500));
    cluster.publish(0);
    cluster.end_all(&answered(200));
    assert_eq!(cluster.delivery(webhook, event).attempts_spent, 4);
    cluster.sent.clear();
    (cluster, webhook, event)
}

fn check_leaves_back_off(what: &str, expected: usize, act: impl Fn(&mut Cluster, WebhookId)) {
    let (mut cluster, webhook, event) = backing_off();
    act(&mut cluster, webhook);
    cluster.end_all(&answered(200));
    cluster.end_all(&answered(200));
    assert_eq!(cluster.sent.len(), expected, "{what}");
    let state = cluster.delivery(webhook, event).state;
    assert!(matches!(state, State::Succeeded { .. }), "{what}: {state:?}");
}

#[test]
fn deliveries_leave_back_off_when_a_person_sees_to_it() {
    check_leaves_back_off("a ping", 2, |cluster, webhook| cluster.ping(0, webhook));
    check_leaves_back_off("a redelivery", 2, |cluster, webhook| cluster.redeliver(0, webhook));
    check_leaves_back_off("another URL", 1, |cluster, webhook| {
        cluster.edit(webhook, "https://example.com/other");
        cluster.tell_edited(0, webhook);
    });
    check_leaves_back_off("a recovery", 1, |cluster, webhook| {
        cluster.ask_for_lane(0, webhook, SendNow::Everything);
    });
}

#[test]
fn a_ping_that_fails_leaves_back_off_as_it_is() {
    let (mut cluster, webhook, event) = backing_off();
    cluster.ping(0, webhook);
    cluster.pass(SECOND, &answered(500));
    assert_eq!(cluster.delivery(webhook, event).attempts_spent, 4);
}

#[test]
fn a_recovery_begins_with_one_attempt_while_the_endpoint_fails() {
    let (mut cluster, webhook) = failing();
    cluster.ask_for_lane(0, webhook, SendNow::Everything);
    assert_eq!(cluster.network.len(), 1);
    cluster.pass(SECOND * 20, &answered(500));
    assert_eq!(cluster.sent.len(), 1, "a failure ends it");
    cluster.ask_for_lane(0, webhook, SendNow::Everything);
    cluster.pass(SECOND * 3, &answered(200));
    assert_eq!(cluster.sent.len(), 1 + 4);
}

/// Two nodes share a webhook whose endpoint asked to wait for a minute. The second node does not know of the request.
fn check_retry_while_asked(node: usize, outcome: u16) {
    let mut cluster = Cluster::acquainted(2);
    let webhook = cluster.webhook();
    cluster.publish(0);
    cluster.end_all(&throttled(60));
    cluster.now = cluster.now.after(Duration::from_millis(1));
    for _ in 0..3 {
        cluster.publish(0);
    }
    let event = cluster.last_event.expect("one was published");
    cluster.sent_events.clear();
    cluster.retry(node, webhook, event);
    assert_eq!(cluster.sent_events, [event], "by node {node}");
    cluster.pass(SECOND * 50, &answered(outcome));
    assert_eq!(cluster.sent_events, [event], "the others wait");
    cluster.pass(SECOND * 30, &answered(200));
    assert!(cluster.sent_events.len() >= 4, "{}", cluster.sent_events.len());
}

#[test]
fn a_retried_delivery_goes_at_once_although_the_endpoint_asked_to_wait() {
    for node in [0, 1] {
        check_retry_while_asked(node, 200);
        check_retry_while_asked(node, 500);
    }
}

/// An attempt to the old endpoint is in flight during the edit, and ends afterwards with `late`.
fn check_late(what: &str, late: &Outcome, edit: impl Fn(&mut Cluster, WebhookId)) {
    let mut cluster = Cluster::acquainted(1);
    let webhook = cluster.webhook_with(|webhook| webhook.secret = secret(1));
    cluster.publish(0);
    edit(&mut cluster, webhook);
    cluster.tell_edited(0, webhook);
    cluster.end_all(late);
    assert_eq!(cluster.stored(webhook).health, Health::default(), "{what}: {late:?}");
    for expected in [1, 2, 3] {
        cluster.publish(0);
        assert_eq!(cluster.network.len(), 1, "{what}: {late:?}: event {expected} goes at once");
        cluster.end_all(&answered(200));
    }
}

#[test]
fn a_late_failure_of_the_old_endpoint_holds_nothing() {
    for late in [answered(410), answered(500), throttled(3600), timed_out()] {
        check_late("another URL", &late, |cluster, webhook| {
            cluster.edit(webhook, "https://example.com/other");
        });
        check_late("another secret", &late, |cluster, webhook| {
            cluster.change(webhook, |webhook| webhook.secret = secret(2));
        });
    }
}
