//! Slow start: how quickly attempts to unproven endpoints begin.

use std::time::Duration;

use stackbell_engine::core::PublishRefusal;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Outcome, Response, Silence};
use stackbell_model::ids::WebhookId;

use crate::world::{Cluster, answered};

/// More webhooks than can start at once or within a second.
const WEBHOOKS: usize = 600;

/// The attempts that start at once.
const BURST: usize = 16;

/// The attempts that start within a second.
const IN_A_SECOND: usize = 512;

const QUICKLY: Duration = Duration::from_millis(1);

fn refused() -> Outcome {
    Outcome::Unanswered { silence: Silence::Unreachable, text: "refused".into() }
}

/// One node, and an event for this many unproven webhooks.
fn unknown(webhooks: usize) -> (Cluster, Vec<WebhookId>) {
    let mut cluster = Cluster::acquainted(1);
    let ids = (0..webhooks).map(|_| cluster.webhook()).collect();
    assert_eq!(cluster.publish(0) as usize, webhooks);
    (cluster, ids)
}

#[test]
fn endpoints_that_fail_at_once_are_tried_a_few_at_a_time() {
    let (mut cluster, _) = unknown(WEBHOOKS);
    assert_eq!(cluster.network.len(), BURST);
    // Ends before the first retry is due.
    cluster.pass(Duration::from_secs(4), &refused());
    let sent: Vec<Timestamp> = cluster.sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(sent.len(), WEBHOOKS);
    for (number, from) in sent.iter().enumerate() {
        for (count, to) in (1..).zip(&sent[number..]) {
            let most = BURST + (to.since(*from).as_secs_f64() * IN_A_SECOND as f64) as usize;
            assert!(count <= most, "{count} within {:?}", to.since(*from));
        }
    }
    let took = sent[WEBHOOKS - 1].since(sent[0]);
    let due = Duration::from_secs(1).mul_f64((WEBHOOKS - BURST) as f64 / IN_A_SECOND as f64);
    assert!(took < due.mul_f64(1.2), "{took:?} where {due:?} were enough");
}

/// Every endpoint was quick before, so no failure was known.
#[test]
fn endpoints_that_were_quick_and_go_down_together_are_not_all_tried_at_once_again_and_again() {
    let (mut cluster, _) = unknown(WEBHOOKS);
    while !cluster.network.is_empty() {
        cluster.end_all(&answered(200));
    }
    // All endpoints fail one by one. A single failure does not count yet.
    for _ in 0..2 {
        cluster.publish(0);
        assert!(cluster.network.len() > BURST, "{}", cluster.network.len());
        while !cluster.network.is_empty() {
            cluster.end_all(&refused());
        }
    }
    cluster.publish(0);
    assert_eq!(cluster.network.len(), BURST);
}

/// After a start no endpoint is proven, and many deliveries may be pending.
#[test]
fn an_endpoint_proven_quick_does_not_wait_for_unproven_ones() {
    const EVENTS: usize = 20;
    // The node sends nothing before it knows the other nodes.
    let mut cluster = Cluster::of(1);
    let ids: Vec<_> = (0..WEBHOOKS).map(|_| cluster.webhook()).collect();
    for _ in 0..EVENTS {
        cluster.publish(0);
    }
    cluster.meet(vec![0]);
    let mut at = Vec::new();
    // A response takes a millisecond, and due deliveries can start in that time.
    for _ in 0..4000 {
        let sent = cluster.network.iter().filter(|one| one.send.webhook.id == ids[0]).count();
        at.extend(std::iter::repeat_n(cluster.now, sent));
        cluster.end_each(QUICKLY, |id| if id == ids[0] { answered(200) } else { refused() });
        cluster.wake(QUICKLY);
    }
    assert_eq!(at.len(), EVENTS);
    let took = at[EVENTS - 1].since(at[0]);
    assert!(took < Duration::from_millis(100), "{took:?} from the first to the last");
}

/// The webhooks change at the last moment. The slots that were reserved for the attempts become free again.
#[test]
fn a_commit_that_came_too_late_spends_nothing() {
    let mut cluster = Cluster::acquainted(1);
    for _ in 0..WEBHOOKS {
        cluster.webhook();
    }
    cluster.before_commit(|cluster| {
        cluster.webhook();
    });
    let version = cluster.version();
    assert_eq!(cluster.publish_as_of(0, version), Err(PublishRefusal::Outdated));
    assert_eq!((cluster.stale, cluster.network.len()), (1, 0));
    assert_eq!(cluster.publish(0) as usize, WEBHOOKS + 1);
    assert_eq!(cluster.network.len(), BURST);
}

#[test]
fn endpoints_that_hang_have_all_the_permits_that_are_for_them() {
    let (mut cluster, _) = unknown(WEBHOOKS);
    let permits = cluster.config.organization_in_flight_max as usize / 2;
    cluster.wake(Duration::from_secs(1));
    assert_eq!(cluster.network.len(), permits);
    // The number of new attempts equals the number that timed out. Their time stays below the limit for slow responses.
    let slow = answered(200);
    cluster.end_all_after(Duration::from_secs(2), &slow);
    cluster.wake(Duration::from_secs(1));
    assert_eq!(cluster.network.len(), permits);
}

#[test]
fn endpoints_that_answer_quickly_need_no_time() {
    let (mut cluster, _) = unknown(WEBHOOKS);
    let before = cluster.now;
    while !cluster.network.is_empty() {
        cluster.end_all(&answered(200));
    }
    assert_eq!(cluster.sent.len(), WEBHOOKS);
    assert_eq!(cluster.now, before);
}

#[test]
fn endpoints_that_answer_at_length_prove_nothing() {
    let (mut cluster, _) = unknown(WEBHOOKS);
    let body = "a".repeat(20_000).into();
    let long = Outcome::Answered(Response { status: 200, headers: "".into(), body, retry_after: None });
    for _ in 0..3 {
        cluster.end_all(&long);
    }
    assert_eq!(cluster.sent.len(), BURST);
}

#[test]
fn an_endpoint_known_to_be_quick_does_not_wait_for_the_others() {
    let (mut cluster, quick) = unknown(1);
    cluster.end_all(&answered(200));
    for _ in 1..WEBHOOKS {
        cluster.webhook();
    }
    // No further delivery may start.
    cluster.publish(0);
    for _ in 0..3 {
        assert_eq!(cluster.network.iter().filter(|one| one.send.webhook.id == quick[0]).count(), 1);
        cluster.end_each(QUICKLY, |id| if id == quick[0] { answered(200) } else { refused() });
        cluster.publish(0);
    }
}

#[test]
fn a_redelivery_does_not_wait_for_the_queue() {
    let (mut cluster, ids) = unknown(WEBHOOKS);
    assert_eq!(cluster.network.len(), BURST);
    let last = ids[WEBHOOKS - 1];
    cluster.redeliver(0, last);
    assert_eq!(cluster.network.len(), BURST + 1);
    assert_eq!(cluster.network.last().expect("it was sent").send.webhook.id, last);
}
