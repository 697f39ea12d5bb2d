//! Circuit breakers, as API requests see them.

use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::{LaneView, SendNow};
use stackbell_model::Clock as _;
use stackbell_model::ids::EventId;
use stackbell_model::wait::WaitReason;
use stackbell_model::webhook::{PayloadUrl, Webhook};
use stackbell_store::recoveries::DeliveryChange;
use stackbell_testkit::{Gate, Reply, wait};

use crate::world::World;

async fn view(world: &World, webhook: &Webhook) -> LaneView {
    let health = world.stored(webhook).await.health;
    let views = world.handle().lane_views(vec![(webhook.id, health)]).await.expect("the engine runs");
    views[0]
}

/// Publishes until the circuit breaker is open.
async fn open(world: &mut World, webhook: &Webhook) {
    world.receiver.answer(Reply::status(500));
    for failures in 1..=5 {
        world.publish().await;
        let look = || async { (world.stored(webhook).await.health.failures == failures).then_some(()) };
        wait::until("a recorded failure", look).await;
    }
}

#[tokio::test]
async fn a_breaker_opens_after_five_failures_and_closes_with_a_success() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    assert_eq!(view(&world, &webhook).await, LaneView::default(), "nothing was sent yet");
    open(&mut world, &webhook).await;
    let open = view(&world, &webhook).await;
    let breaker = open.breaker.expect("it is open");
    assert!(!breaker.is_our_fault);
    assert_eq!(breaker.until, Some(world.clock.now().after(Duration::from_secs(30))));
    let wait = open.wait.expect("what is due waits");
    assert_eq!((wait.reason, wait.until), (WaitReason::Breaker, breaker.until));

    world.receiver.answer(Reply::status(200));
    world.handle().ping(Arc::new(world.stored(&webhook).await)).await.expect("made");
    let look = || async { view(&world, &webhook).await.breaker.is_none().then_some(()) };
    wait::until("a closed breaker", look).await;
}

/// Retries a delivery, as a person does.
async fn retry(world: &mut World, webhook: &Webhook, event: EventId) {
    let delivery = world.delivery(webhook, event).await.delivery.id;
    let audit = world.audit();
    let changed = world.store.retry_delivery(world.organization, delivery, audit).await.expect("a store");
    assert_eq!(changed, DeliveryChange::Done { webhook: webhook.id });
    world.handle().send_now(world.organization, webhook.id, SendNow::One).await;
}

/// The clock stands still, so only the person's request can start the attempt.
#[tokio::test]
async fn a_retried_delivery_goes_first_although_the_breaker_is_open() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    open(&mut world, &webhook).await;
    let (before, _) = world.publish().await;
    let (wanted, _) = world.publish().await;
    assert_eq!(world.receiver.count(), 5, "the breaker holds them");
    // A failed retry releases no other delivery.
    retry(&mut world, &webhook, wanted).await;
    let due_at = world.due_after(&webhook, wanted, 1).await;
    assert!(due_at > world.clock.now());
    let reopened = view(&world, &webhook).await.breaker.expect("it is open again");
    assert_eq!(reopened.until, Some(world.clock.now().after(Duration::from_secs(30))));

    world.receiver.answer(Reply::status(200));
    retry(&mut world, &webhook, wanted).await;
    world.succeeded(&webhook, wanted).await;
    world.succeeded(&webhook, before).await;
    let order: Vec<String> =
        world.receiver.requests().iter().skip(5).map(|request| request.id().to_owned()).collect();
    assert_eq!(order[..2], [wanted.to_string(), wanted.to_string()]);
    assert!(order.contains(&before.to_string()));
}

/// The clock stands still, so only the person's act can send the deliveries that wait for the circuit breaker or are in
/// backoff. After an edit, deliveries in backoff are sent slowly, which needs a moving clock.
async fn check_sends(what: &str, takes_clock: bool, act: impl AsyncFn(&mut World, &Webhook)) {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    open(&mut world, &webhook).await;
    let (last, _) = world.publish().await;
    world.receiver.answer(Reply::status(200));
    act(&mut world, &webhook).await;
    world.succeeded(&webhook, last).await;
    assert_eq!(view(&world, &webhook).await.breaker, None, "{what}");
    if !takes_clock {
        let look = || async { (world.store.depth().await.expect("a store").pending == 0).then_some(()) };
        wait::until(what, look).await;
    }
}

#[tokio::test]
async fn all_pending_deliveries_go_when_a_person_sees_to_it() {
    check_sends("a ping", false, async |world, webhook| {
        let webhook = Arc::new(world.stored(webhook).await);
        world.handle().ping(webhook).await.expect("made");
    })
    .await;
    check_sends("another URL", true, async |world, webhook| {
        let url = format!("{}?other", webhook.payload_url.expose());
        world.edit(webhook, |webhook| webhook.payload_url = PayloadUrl::from_stored(&url)).await;
    })
    .await;
    check_sends("off and on", true, async |world, webhook| {
        world.edit(webhook, |webhook| webhook.active = false).await;
        world.edit(webhook, |webhook| webhook.active = true).await;
    })
    .await;
    check_sends("a recovery", false, async |world, webhook| {
        world.handle().send_now(world.organization, webhook.id, SendNow::Everything).await;
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_is_being_attempted_is_under_way() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let gate = Gate::new();
    world.receiver.answer(Reply::status(200).behind(&gate));
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    let delivery = world.delivery(&webhook, event).await.delivery.id;
    assert!(world.handle().is_under_way(delivery).await);
    gate.open();
    world.succeeded(&webhook, event).await;
    let look = || async { (!world.handle().is_under_way(delivery).await).then_some(()) };
    wait::until("its end", look).await;
}
