//! Actions that people request: redeliver, ping, deactivate, delete.

use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::CoreConfig;
use stackbell_model::delivery::{AttemptTrigger, State};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::webhook::Webhook;
use stackbell_testkit::Reply;

use crate::world::{BEGIN, PAYLOAD, World};

async fn world_of_one_attempt() -> World {
    let retry = RetryPolicy { waits: Vec::new(), ..RetryPolicy::default() };
    World::start_with(BEGIN, CoreConfig { retry, ..CoreConfig::default() }).await
}

#[tokio::test]
async fn a_failed_delivery_can_be_sent_again() {
    let mut world = world_of_one_attempt().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500), Reply::status(502)]);
    let (event, _) = world.publish().await;
    let is_failed =
        |delivery: &stackbell_model::delivery::Delivery| matches!(delivery.state, State::Failed { .. });
    world.delivery_when("failure", &webhook, event, is_failed).await;

    for (status, is_failed_after) in [(502, true), (200, false)] {
        let stored = world.delivery(&webhook, event).await;
        let attempt = world.handle().redeliver(Arc::new(webhook.clone()), stored).await.expect("made");
        assert_eq!(attempt.attempt.outcome.status(), status);
        assert_eq!(attempt.attempt.trigger, AttemptTrigger::Redeliver);
        assert_eq!(is_failed(&world.delivery(&webhook, event).await.delivery), is_failed_after);
    }
    world.succeeded(&webhook, event).await;
    for request in world.receiver.wait_for(3).await {
        assert_eq!((request.id(), request.text()), (event.to_string().as_str(), PAYLOAD));
    }
    assert_eq!(world.attempts(&webhook).await.len(), 3);
}

#[tokio::test]
async fn a_ping_is_recorded_whatever_the_answer_and_the_webhook() {
    let mut world = World::start().await;
    let check = async |world: &World, webhook: &Webhook, status: u16| {
        world.receiver.then([Reply::status(status)]);
        let made = world.handle().ping(Arc::new(webhook.clone())).await.expect("made");
        assert_eq!(made.attempt.outcome.status(), status);
        let recorded = world.attempts(webhook).await;
        assert_eq!(recorded[0].trigger, AttemptTrigger::Ping);
        assert_eq!(recorded[0].request_headers, made.attempt.request_headers);
        assert_eq!(recorded[0].outcome, made.attempt.outcome);
    };
    let webhook = world.webhook("hook", |_| ()).await;
    check(&world, &webhook, 200).await;
    check(&world, &webhook, 500).await;
    let inactive = world.webhook("inactive", |webhook| webhook.active = false).await;
    check(&world, &inactive, 200).await;
    let requests = world.receiver.wait_for(3).await;
    let body = r#"{"timestamp":1778653205,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#;
    for request in &requests {
        assert_eq!((request.header("Pulumi-Webhook-Kind"), request.text()), (Some("ping"), body));
    }
    assert_ne!(requests[0].id(), requests[1].id());
    let health = world.stored(&webhook).await.health;
    assert_eq!(health.failures, 0, "a person's try is not held against the endpoint");
}

#[tokio::test]
async fn inactive_holds_what_is_pending_and_matches_nothing() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    world.edit(&webhook, |webhook| webhook.active = false).await;
    let witness = world.webhook("witness", |_| ()).await;
    world.clock.advance_to(due.after(Duration::from_secs(3600)));
    let (later, deliveries) = world.publish().await;
    assert_eq!(deliveries, 1);
    world.succeeded(&witness, later).await;
    assert_eq!(world.receiver.count(), 2, "nothing but the witness's");

    world.edit(&webhook, |webhook| webhook.active = true).await;
    let requests = world.receiver.wait_for(3).await;
    assert_eq!((requests[2].id(), requests[2].path.as_str()), (event.to_string().as_str(), "/hook"));
    world.succeeded(&webhook, event).await;
}

#[tokio::test]
async fn deletion_cancels_what_is_pending() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let witness = world.webhook("witness", |_| ()).await;
    world.receiver.answer(Reply::status(500));
    let (event, _) = world.publish().await;
    world.due_after(&webhook, event, 1).await;
    world.due_after(&witness, event, 1).await;
    world.receiver.answer(Reply::status(200));
    world.delete(&webhook).await;
    world.clock.advance(Duration::from_secs(60));
    world.succeeded(&witness, event).await;
    let is_cancelled = |state: &State| matches!(state, State::Cancelled { by, .. } if &**by == "analyst");
    world.delivery_when("cancellation", &webhook, event, |delivery| is_cancelled(&delivery.state)).await;
    let paths = world.receiver.requests().into_iter().map(|request| request.path);
    assert_eq!(paths.filter(|path| path == "/hook").count(), 1);
}

/// Invariant 4: the bytes are fixed with the event; URL and secret are the current ones.
#[tokio::test]
async fn a_retry_goes_to_where_the_webhook_points_now() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    let moved = world.receiver.url("/moved");
    world
        .edit(&webhook, |webhook| {
            let url = stackbell_model::webhook::PayloadUrl::parse(&moved, webhook.format, &[]);
            webhook.payload_url = url.expect("a URL");
        })
        .await;
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    let requests = world.receiver.wait_for(2).await;
    assert_eq!((requests[1].path.as_str(), requests[1].text()), ("/moved", PAYLOAD));
}
