//! Webhooks with a slow rate limit get one message at a time, in the order of events.

use std::time::Duration;

use stackbell_model::delivery::Outcome;
use stackbell_model::ids::EventId;
use stackbell_model::webhook::{Format, Pace, Webhook};

use crate::world::{Cluster, answered, throttled};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn slack(webhook: &mut Webhook) {
    webhook.format = Format::Slack;
}

fn ms_teams(webhook: &mut Webhook) {
    webhook.format = Format::MsTeams;
}

fn slow(webhook: &mut Webhook) {
    webhook.pace = Pace::per_minute(120);
}

fn publish(cluster: &mut Cluster, node: usize) -> EventId {
    cluster.now = cluster.now.after(MILLISECOND);
    cluster.publish(node);
    cluster.last_event.expect("one was published")
}

/// The sent events in order, without repetitions.
fn first_sends(cluster: &Cluster) -> Vec<EventId> {
    let mut seen = Vec::new();
    for event in &cluster.sent_events {
        if !seen.contains(event) {
            seen.push(*event);
        }
    }
    seen
}

/// Holds for slow endpoints too, and for events through any node.
#[test]
fn one_at_a_time_in_the_order_of_events() {
    for set_up in [slack, ms_teams, slow] {
        for nodes in 1..=3_usize {
            let mut cluster = Cluster::acquainted(nodes as u128);
            cluster.webhook_with(set_up);
            let events: Vec<_> = (0..12).map(|n| publish(&mut cluster, n % nodes)).collect();
            for _ in 0..200 {
                cluster.wake(SECOND / 2);
                assert!(cluster.network.len() <= 1, "{nodes} nodes: {} at once", cluster.network.len());
                cluster.end_all(&answered(200));
            }
            assert_eq!(cluster.sent_events, events, "{nodes} nodes");
        }
    }
}

/// A message that was not delivered is sent again before later messages.
fn check_keeps_its_place(outcome: &Outcome) {
    for nodes in 1..=2_usize {
        let mut cluster = Cluster::acquainted(nodes as u128);
        cluster.webhook_with(slack);
        let events: Vec<_> = (0..5).map(|n| publish(&mut cluster, n % nodes)).collect();
        for _ in 0..2 {
            let count = cluster.sent.len();
            while cluster.network.is_empty() {
                cluster.wake(SECOND);
            }
            cluster.end_all(outcome);
            assert!(cluster.sent.len() <= count + 1);
        }
        cluster.pass(Duration::from_secs(400), &answered(200));
        assert_eq!(first_sends(&cluster), events, "{outcome:?}, {nodes} nodes");
        let first = cluster.sent_events.iter().take_while(|event| **event == events[0]);
        assert_eq!(first.count(), 3, "{outcome:?}, {nodes} nodes: {:?}", cluster.sent_events);
    }
}

#[test]
fn a_message_that_was_not_sent_because_of_us_keeps_its_place() {
    check_keeps_its_place(&Outcome::OurFault { text: "cut".into() });
}

#[test]
fn a_message_that_the_service_does_not_take_for_now_keeps_its_place() {
    check_keeps_its_place(&throttled(30));
    check_keeps_its_place(&answered(429));
}

/// A failure concerns only its own message; the others do not wait for it.
#[test]
fn a_message_that_failed_holds_up_no_other() {
    let mut cluster = Cluster::acquainted(1);
    cluster.webhook_with(slack);
    let events: Vec<_> = (0..3).map(|_| publish(&mut cluster, 0)).collect();
    cluster.wake(SECOND);
    cluster.end_all(&answered(400));
    cluster.pass(SECOND * 4, &answered(200));
    assert_eq!(cluster.sent_events, events);
    cluster.pass(SECOND * 4, &answered(200));
    assert_eq!(cluster.sent_events[3..], events[..1]);
}

/// A webhook without a rate limit, or with a fast one, gets concurrent requests.
#[test]
fn a_fast_webhook_does_not_wait_for_one_answer_after_the_other() {
    for pace in [None, Pace::per_minute(6000)] {
        let mut cluster = Cluster::acquainted(1);
        cluster.webhook_with(|webhook| webhook.pace = pace);
        for _ in 0..5 {
            publish(&mut cluster, 0);
        }
        cluster.wake(SECOND);
        assert_eq!(cluster.network.len(), cluster.config.lane_limit_start as usize);
    }
}
