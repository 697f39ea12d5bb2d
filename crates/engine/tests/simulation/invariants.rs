//! What must hold once everything has settled. Numbers are those of ARCHITECTURE.md.

use stackbell_model::delivery::{AttemptTrigger, State};

use crate::endpoints::Sent;
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
            let stored = world.delivery(*webhook, *event);
            let stored = stored.unwrap_or_else(|| panic!("invariant 2: the delivery of {event} vanished"));
            let sent = world.endpoints.log.get(&(*webhook, *event)).map_or(&[][..], Vec::as_slice);
            check_end(world, world.deleted.contains(webhook), &stored.delivery.state, sent);
            if !world.endpoints.lost_leases.contains(&(*webhook, *event)) {
                check_sends(sent);
            }
            for request in sent {
                assert_eq!(request.payload, stored.payload, "invariant 4: other bytes were sent");
            }
        }
    }
    assert!(world.audit_entries() >= world.webhooks.len(), "every change is in the audit log");
}

/// Invariant 2: it ended, and says why; invariant 3: what succeeded was accepted by its endpoint.
fn check_end(world: &World, deleted: bool, state: &State, sent: &[Sent]) {
    match state {
        State::Pending { .. } => {}
        State::Succeeded { .. } => {
            assert!(sent.iter().any(|request| request.accepted), "invariant 3: never accepted");
        }
        State::Failed { at, .. } => {
            assert!(
                !sent.last().is_some_and(|last| {
                    last.seen.is_some_and(|(life, _)| life == world.life) && *at < last.lease_until
                }),
                "invariant 2: failed, although its last attempt was seen to be accepted"
            );
        }
        State::Cancelled { by, .. } => assert!(deleted && !by.is_empty(), "invariant 2: cancelled by nobody"),
    }
}

/// Invariant 3: nothing is sent again by itself after a 2xx that this life of the node has seen.
fn check_sends(sent: &[Sent]) {
    for (n, first) in sent.iter().enumerate() {
        let Some((life, seen_step)) = first.seen else { continue };
        for again in &sent[n + 1..] {
            let by_itself = matches!(again.trigger, AttemptTrigger::Schedule | AttemptTrigger::Probe);
            let knowing = again.life == life && again.sent_step > seen_step;
            assert!(!(by_itself && knowing), "invariant 3: sent again after a 2xx: {sent:?}");
        }
    }
}
