//! Checks once everything has settled. The numbers are those of the invariants in ARCHITECTURE.md.

use std::collections::HashMap;
use std::time::Duration;

use stackbell_model::delivery::{CancelReason, State};
use stackbell_model::ids::WebhookId;
use stackbell_model::retry::RetryPolicy;
use stackbell_model::webhook::{Format, Pace};

use crate::endpoints::{Key, Sent, is_by_itself, keeps_order};
use crate::world::World;

pub(crate) fn check(world: &World) {
    for (event, deliveries) in &world.answered {
        let expected = world
            .expected
            .get(event)
            .unwrap_or_else(|| panic!("invariant 1: {event} was answered, and is not in"));
        assert_eq!(expected.len(), *deliveries as usize, "invariant 1: {event}");
    }
    for (event, webhooks) in &world.expected {
        webhooks.iter().for_each(|webhook| check_delivery(world, (*webhook, *event)));
    }
    for (key, sent) in &world.endpoints.log {
        sent.iter().for_each(|request| check_outcome(world, *key, sent, request));
    }
    check_paces(world);
    world.check_sources();
    assert!(world.audit_entries() >= world.webhooks.len(), "every change is in the audit log");
    for node in &world.nodes {
        assert!(node.publishing.is_empty() && node.asking.is_empty(), "who waits is answered");
    }
}

/// Whether something happened between two steps.
fn is_between(steps: Option<&Vec<u64>>, first: u64, last: u64) -> bool {
    steps.is_some_and(|steps| steps.iter().any(|step| (first..last).contains(step)))
}

fn check_delivery(world: &World, key: Key) {
    let stored = world.delivery(key.0, key.1);
    let stored = stored.unwrap_or_else(|| panic!("invariant 2: the delivery {key:?} vanished"));
    let sent = world.endpoints.log.get(&key).map_or(&[][..], Vec::as_slice);
    check_end(world, key, &stored.delivery.state, sent);
    check_sends(world, key, sent);
    for request in sent {
        assert_eq!(request.payload, stored.payload, "invariant 4: other bytes were sent");
    }
    let most = RetryPolicy::default().waits.len();
    assert!(stored.delivery.attempts_spent as usize <= most, "Retry: too many attempts");
}

/// Invariant 2: every delivery ends and says why. Invariant 3: a succeeded delivery was accepted by its endpoint.
fn check_end(world: &World, key: Key, state: &State, sent: &[Sent]) {
    match state {
        State::Pending { .. } => {}
        State::Succeeded { .. } => {
            assert!(sent.iter().any(|request| request.accepted), "invariant 3: never accepted");
        }
        State::Failed { .. } => {
            let is_wrong = sent.last().is_some_and(|last| {
                let heard = last.seen.is_some() && !world.killed.contains(&last.life);
                let excused = [&world.rearmed, &world.lost, &world.touched]
                    .iter()
                    .any(|steps| is_between(steps.get(&key), last.leased_step + 1, u64::MAX));
                heard && !excused && last.told == Some(true)
            });
            assert!(!is_wrong, "invariant 2: failed, although its last attempt was seen to be accepted");
        }
        State::Cancelled { by, reason, .. } => {
            let is_known = match reason {
                CancelReason::WebhookDeleted => world.deleted.contains(&key.0),
                CancelReason::Asked => world.cancelled.contains(&key),
            };
            assert!(is_known && !by.is_empty(), "invariant 2: cancelled by nobody");
            let arrived = |request: &Sent| {
                let is_excused = [&world.rearmed, &world.lost]
                    .iter()
                    .any(|steps| is_between(steps.get(&key), request.leased_step, u64::MAX));
                let is_excused = is_excused || looks_recorded(sent, request);
                request.seen.is_some() && !world.killed.contains(&request.life) && !is_excused
            };
            let is_wrong = !world.unrecordable.contains(&key.0) && sent.iter().any(arrived);
            assert!(!is_wrong, "invariant 2: cancelled, although it was seen to be accepted: {sent:?}");
        }
    }
}

/// Invariant 3: a delivery is not sent again automatically after a 2xx that this life of the node has seen, unless it was
/// rearmed or its lease was lost meanwhile. Deployments are not started again after any outcome that may have started one.
fn check_sends(world: &World, key: Key, sent: &[Sent]) {
    for (n, first) in sent.iter().enumerate() {
        for again in
            sent[n + 1..].iter().filter(|again| is_by_itself(again.trigger) && again.life == first.life)
        {
            let excused = [&world.rearmed, &world.lost]
                .iter()
                .any(|steps| is_between(steps.get(&key), first.leased_step, again.sent_step));
            if excused || world.unrecordable.contains(&key.0) {
                continue;
            }
            let knows = |step: u64| again.sent_step > step;
            assert!(!first.seen.is_some_and(knows), "invariant 3: sent again after a 2xx: {sent:?}");
            let may_run_twice = is_by_itself(first.trigger)
                && first.ended.is_some_and(|(step, repeatable)| !repeatable && knows(step));
            assert!(!may_run_twice, "invariant 3: a run may have been started twice: {sent:?}");
        }
    }
}

/// A store tells the attempts of a cancelled delivery apart by trigger and start. After a clock was set back, two may be equal.
fn looks_recorded(sent: &[Sent], request: &Sent) -> bool {
    let is_equal = |other: &Sent| (other.trigger, other.started_at) == (request.trigger, request.started_at);
    sent.iter().filter(|other| is_equal(other)).count() > 1
}

/// Invariant 3: the outcome of each request is recorded, unless the node that knew it was killed. It is rejected as late only
/// if the lease was lost or somebody changed the delivery.
fn check_outcome(world: &World, key: Key, sent: &[Sent], request: &Sent) {
    if request.ended.is_none() || world.killed.contains(&request.life) {
        return;
    }
    match request.told {
        Some(true) => {}
        Some(false) => {
            // Cancelling a delivery does not undo a request that was already sent.
            let is_cancelled = world
                .delivery(key.0, key.1)
                .is_some_and(|stored| matches!(stored.delivery.state, State::Cancelled { .. }));
            let excused = world.unrecordable.contains(&key.0)
                || is_cancelled && looks_recorded(sent, request)
                || [&world.rearmed, &world.lost]
                    .iter()
                    .any(|steps| is_between(steps.get(&key), request.leased_step, u64::MAX))
                || !is_cancelled
                    && [&world.rearmed, &world.lost, &world.touched]
                        .iter()
                        .any(|steps| is_between(steps.get(&key), request.leased_step, u64::MAX));
            assert!(excused, "invariant 3: an outcome came too late that had its lease: {request:?}");
        }
        None if world.unrecordable.contains(&key.0) => {}
        None => panic!("invariant 3: an outcome was dropped: {request:?}"),
    }
}

/// Fairness: no window of time has more attempts than its webhook's rate limit allows. A window covers the automatic attempts
/// of one life of a node, while the rate limit and the visible nodes stay the same.
fn check_paces(world: &World) {
    let mut of_webhooks: HashMap<(WebhookId, u32), Vec<&Sent>> = HashMap::new();
    for ((webhook, _), sent) in &world.endpoints.log {
        for request in sent.iter().filter(|request| is_by_itself(request.trigger)) {
            of_webhooks.entry((*webhook, request.life)).or_default().push(request);
        }
    }
    for sent in of_webhooks.values_mut() {
        sent.sort_by_key(|request| request.sent_step);
        for run in sent.chunk_by(|a, b| (a.pace, a.view) == (b.pace, b.view)) {
            if let Some((interval, burst)) = run.first().and_then(|first| rate(first.pace)) {
                // Webhooks that keep order are sent to by one node alone.
                let is_ordered = keeps_order(run[0].pace.0, run[0].pace.1);
                let nodes = if is_ordered { 1 } else { run[0].view.0.max(1) };
                let burst = burst.div_ceil(nodes as u128);
                check_pace(run, interval * u32::try_from(nodes).expect("few"), burst);
            }
        }
    }
}

fn check_pace(run: &[&Sent], interval: Duration, burst: u128) {
    for (n, first) in run.iter().enumerate() {
        for (count, last) in (1..).zip(&run[n..]) {
            let window = last.elapsed - first.elapsed;
            let most = burst + window.as_nanos() / interval.as_nanos();
            assert!(count <= most, "Fairness: {count} within {window:?}, one in {interval:?}: {run:?}");
        }
    }
}

/// The interval and the burst.
fn rate((pace, format, _): (Option<Pace>, Format, usize)) -> Option<(Duration, u128)> {
    match (pace, format) {
        (Some(pace), _) => {
            let interval = pace.interval();
            Some((interval, (Duration::from_millis(100).as_nanos() / interval.as_nanos()).max(1)))
        }
        (None, Format::Slack) => Some((Duration::from_secs(1), 3)),
        (None, Format::MsTeams) => Some((Duration::from_millis(536), 4)),
        (None, Format::Raw | Format::PulumiDeployments) => None,
    }
}
