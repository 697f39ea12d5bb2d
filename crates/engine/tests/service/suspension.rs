//! Suspended webhooks: held, probed, resumed.

use std::time::Duration;

use stackbell_model::delivery::{AttemptTrigger, State};
use stackbell_model::health::{PROBE_INTERVAL, SuspensionReason};
use stackbell_model::ids::EventId;
use stackbell_model::webhook::Webhook;
use stackbell_model::{Clock as _, Timestamp};
use stackbell_testkit::{Reply, wait};

use crate::world::World;

const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);

/// Waits until a webhook is suspended and its next probe is later than `after`; returns the time of the probe.
async fn probe_after(world: &World, webhook: &Webhook, after: Timestamp) -> Timestamp {
    let look = || async {
        let suspension = world.stored(webhook).await.health.suspension?;
        assert_eq!(suspension.reason, SuspensionReason::Gone);
        Some(suspension.probe_at).filter(|at| *at > after)
    };
    wait::until("a suspension", look).await
}

/// The hour counts from the end of the exchange, which took real time.
#[track_caller]
fn assert_an_hour(begun: Timestamp, next: Timestamp) {
    let wait = next.since(begun);
    assert!(wait >= PROBE_INTERVAL && wait <= PROBE_INTERVAL + EXCHANGE_TIME_MAX, "{wait:?}");
}

#[tokio::test]
async fn gone_holds_what_comes_probes_hourly_and_goes_on_oldest_first() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let witness = world.webhook("witness", |_| ()).await;
    let at_hook = |world: &World| -> Vec<String> {
        let requests = world.receiver.requests().into_iter().filter(|request| request.path == "/hook");
        requests.map(|request| request.id().to_owned()).collect()
    };
    world.edit(&witness, |witness| witness.active = false).await;
    world.receiver.then([Reply::status(410)]);
    let (first, _) = world.publish().await;
    let probe = probe_after(&world, &webhook, world.clock.now()).await;
    assert_an_hour(world.clock.now(), probe);
    assert!(world.stored(&webhook).await.active, "it stays as the user set it");
    world.edit(&witness, |witness| witness.active = true).await;

    let mut events = vec![first];
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(60));
        let (event, deliveries) = world.publish().await;
        assert_eq!(deliveries, 2);
        world.succeeded(&witness, event).await;
        events.push(event);
    }
    assert_eq!(at_hook(&world).len(), 1, "it is held");

    world.receiver.then([Reply::status(500)]);
    world.clock.advance_to(probe);
    let next = probe_after(&world, &webhook, probe).await;
    assert_an_hour(probe, next);
    assert_eq!(at_hook(&world).len(), 2, "one probe");

    world.clock.advance_to(next);
    let all = world.receiver.count() + 4;
    world.drive_until(all, Duration::from_millis(10)).await;
    for event in &events {
        world.succeeded(&webhook, *event).await;
    }
    let id = |index: usize| EventId::to_string(&events[index]);
    assert_eq!(at_hook(&world), [id(0), id(0), id(0), id(1), id(2), id(3)]);
    let health = world.stored(&webhook).await.health;
    assert_eq!((health.suspension, health.failures), (None, 0));
    let probes = world.attempts(&webhook).await.into_iter().filter(|a| a.trigger == AttemptTrigger::Probe);
    assert_eq!(probes.count(), 2);
}

/// Ten failures in five days without a success suspend a webhook.
#[tokio::test]
async fn days_of_failure_suspend_too() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.answer(Reply::status(500));
    let begin = world.clock.now();
    let mut event = world.publish().await.0;
    let mut count = 0;
    let suspension = loop {
        count += 1;
        let recorded = || async { (world.attempts(&webhook).await.len() == count).then_some(()) };
        wait::until("an attempt, recorded", recorded).await;
        if let Some(suspension) = world.stored(&webhook).await.health.suspension {
            break suspension;
        }
        match world.delivery(&webhook, event).await.delivery.state {
            // The circuit breaker is open by now, and waits for at most half a minute.
            State::Pending { due_at } => world.clock.advance_to(due_at.after(Duration::from_secs(30))),
            State::Succeeded { .. } | State::Cancelled { .. } => panic!("by whom?"),
            State::Failed { .. } => {
                // The delivery has failed for good. The next one continues the webhook's record of failures.
                world.clock.advance(Duration::from_secs(12 * 3600));
                event = world.publish().await.0;
            }
        }
    };
    assert_eq!(suspension.reason, SuspensionReason::Failing);
    assert!(suspension.since.since(begin) >= Duration::from_secs(5 * 24 * 3600));
}
