//! What must hold once everything has settled. Numbers are those of ARCHITECTURE.md.

use std::collections::HashMap;
use std::time::Duration;

use stackbell_model::delivery::{CancelReason, State};
use stackbell_model::ids::{EventId, WebhookId};
use stackbell_model::webhook::{Format, Pace};

use crate::endpoints::{Sent, is_by_itself};
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
        for webhook in webhooks {
            check_delivery(world, *webhook, *event);
        }
    }
    check_paces(world);
    assert!(world.audit_entries() >= world.webhooks.len(), "every change is in the audit log");
}

fn check_delivery(world: &World, webhook: WebhookId, event: EventId) {
    let key = (webhook, event);
    let stored = world.delivery(webhook, event);
    let stored = stored.unwrap_or_else(|| panic!("invariant 2: the delivery of {event} vanished"));
    let sent = world.endpoints.log.get(&key).map_or(&[][..], Vec::as_slice);
    let rearmed = world.rearmed.get(&key).map_or(&[][..], Vec::as_slice);
    check_end(world, key, &stored.delivery.state, sent, rearmed);
    if !world.endpoints.lost_leases.contains(&key) {
        check_sends(sent, rearmed);
    }
    for request in sent {
        assert_eq!(request.payload, stored.payload, "invariant 4: other bytes were sent");
    }
}

/// Invariant 2: it ended, and says why; invariant 3: what succeeded was accepted by its endpoint.
fn check_end(world: &World, key: (WebhookId, EventId), state: &State, sent: &[Sent], rearmed: &[u64]) {
    match state {
        State::Pending { .. } => {}
        State::Succeeded { .. } => {
            assert!(sent.iter().any(|request| request.accepted), "invariant 3: never accepted");
        }
        State::Failed { at, .. } => {
            let is_wrong = sent.last().is_some_and(|last| {
                let begun_anew = rearmed.iter().any(|step| *step > last.leased_step);
                last.seen.is_some_and(|(life, _)| life == world.life) && *at < last.lease_until && !begun_anew
            });
            assert!(!is_wrong, "invariant 2: failed, although its last attempt was seen to be accepted");
        }
        State::Cancelled { by, reason, .. } => {
            let is_known = match reason {
                CancelReason::WebhookDeleted => world.deleted.contains(&key.0),
                CancelReason::Asked => world.cancelled.contains(&key),
            };
            assert!(is_known && !by.is_empty(), "invariant 2: cancelled by nobody");
        }
    }
}

/// Invariant 3: nothing is sent again by itself after a 2xx that this life of the node has seen, unless somebody had it
/// begin anew; and what starts runs not after anything else either that may have started one.
fn check_sends(sent: &[Sent], rearmed: &[u64]) {
    for (n, first) in sent.iter().enumerate() {
        for again in &sent[n + 1..] {
            let is_asked_for = rearmed.iter().any(|step| (first.leased_step..again.sent_step).contains(step));
            if is_asked_for || !is_by_itself(again.trigger) {
                continue;
            }
            let knows = |(life, step): (u32, u64)| again.life == life && again.sent_step > step;
            assert!(!first.seen.is_some_and(knows), "invariant 3: sent again after a 2xx: {sent:?}");
            let may_run_twice = is_by_itself(first.trigger)
                && first.ended.is_some_and(|(life, step, repeatable)| !repeatable && knows((life, step)));
            assert!(!may_run_twice, "invariant 3: a run may have been started twice: {sent:?}");
        }
    }
}

/// No window of time has more attempts than its webhook's pace lets go: what was sent by itself in one life of the node,
/// while the pace was the same.
fn check_paces(world: &World) {
    let mut of_webhooks: HashMap<WebhookId, Vec<&Sent>> = HashMap::new();
    for ((webhook, _), sent) in &world.endpoints.log {
        let sent = sent.iter().filter(|request| is_by_itself(request.trigger));
        of_webhooks.entry(*webhook).or_default().extend(sent);
    }
    for sent in of_webhooks.values_mut() {
        sent.sort_by_key(|request| request.sent_step);
        for run in sent.chunk_by(|a, b| (a.life, a.pace) == (b.life, b.pace)) {
            if let Some((interval, burst)) = run.first().and_then(|first| rate(first.pace)) {
                check_pace(run, interval, burst);
            }
        }
    }
}

fn check_pace(run: &[&Sent], interval: Duration, burst: u128) {
    for (n, first) in run.iter().enumerate() {
        for (count, last) in (1..).zip(&run[n..]) {
            let window = last.elapsed - first.elapsed;
            let most = burst + window.as_nanos() / interval.as_nanos();
            assert!(count <= most, "{count} attempts within {window:?}, one in {interval:?}: {run:?}");
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
