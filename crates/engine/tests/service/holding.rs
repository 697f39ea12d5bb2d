//! Sending held and resumed.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Clock as _;
use stackbell_model::delivery::State;
use stackbell_store::instance::SendingHold;
use stackbell_testkit::Reply;

use crate::world::World;

const LONG: Duration = Duration::from_secs(30);

async fn hold(world: &mut World) {
    let hold = SendingHold { since: world.clock.now(), reason: "restored from a backup".into() };
    let audit = world.audit();
    assert!(world.store.hold_sending(&hold, audit).await.expect("a store"));
}

async fn resume(world: &mut World) {
    let audit = world.audit();
    assert!(world.store.resume_sending(audit).await.expect("a store"));
}

fn held(world: &World) -> bool {
    world.metrics.encode().expect("text").contains("stackbell_sending_held 1\n")
}

/// Sending is held before the engine starts, as after a restore.
#[tokio::test]
async fn nothing_goes_out_by_itself_until_somebody_resumes() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500)]);
    let (before, _) = world.publish().await;
    world.due_after(&webhook, before, 1).await;
    hold(&mut world).await;
    let mut world = world.restart(LONG).await;
    world.clock.advance(Duration::from_secs(3600));
    let (event, deliveries) = world.publish().await;
    assert_eq!(deliveries, 1);
    // Pings and redeliveries are sent.
    let ping = world.handle().ping(Arc::new(webhook.clone())).await.expect("made");
    assert_eq!(ping.attempt.outcome.status(), 200);
    let stored = world.delivery(&webhook, before).await;
    world.handle().redeliver(Arc::new(webhook.clone()), stored).await.expect("made");
    world.succeeded(&webhook, before).await;
    assert_eq!(world.receiver.count(), 3);
    assert!(held(&world));
    let state = world.delivery(&webhook, event).await.delivery.state;
    assert!(matches!(state, State::Pending { .. }), "{state:?}");

    resume(&mut world).await;
    world.handle().sending_changed().await;
    world.succeeded(&webhook, event).await;
    assert!(!held(&world));
    assert_eq!(world.receiver.count(), 4);
}

/// Another node got the notice, or the notice was lost. The engine checks from time to time.
#[tokio::test]
async fn a_hold_is_found_by_looking() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let (first, _) = world.publish().await;
    world.succeeded(&webhook, first).await;
    hold(&mut world).await;
    world.clock.advance(LONG);
    let look = || async { held(&world).then_some(()) };
    stackbell_testkit::wait::until("the hold", look).await;
    let (event, _) = world.publish().await;
    world.handle().ping(Arc::new(webhook.clone())).await.expect("made");
    assert_eq!(world.receiver.count(), 2);
    resume(&mut world).await;
    world.clock.advance(LONG);
    world.succeeded(&webhook, event).await;
}
