//! Webhooks with a rate limit, set by a person or implied by their format.

use std::time::Duration;

use stackbell_model::webhook::{Format, Pace, Webhook};
use stackbell_testkit::Request;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn count(requests: &[Request], webhook: &str) -> usize {
    let path = format!("/{webhook}");
    requests.iter().filter(|request| request.path == path).count()
}

/// Checks that the webhook `paced` got exactly this many requests. A later ping has arrived by then, so no more are coming.
async fn check_count(world: &mut World, witness: &Webhook, expected: usize) {
    world.receiver.wait_until("those that may go", |requests| count(requests, "paced") >= expected).await;
    let made = world.handle().ping(std::sync::Arc::new(witness.clone())).await.expect("made");
    assert_eq!(made.attempt.outcome.status(), 200);
    assert_eq!(count(&world.receiver.requests(), "paced"), expected);
}

#[tokio::test]
async fn slack_gets_a_short_burst_and_then_one_a_second() {
    let mut world = World::start().await;
    let paced = world.webhook("paced", |webhook| webhook.format = Format::Slack).await;
    let witness = world.webhook("witness", |webhook| webhook.active = false).await;
    let mut events = Vec::new();
    for _ in 0..6 {
        events.push(world.publish().await.0);
    }
    for expected in 3..=6 {
        check_count(&mut world, &witness, expected).await;
        world.clock.advance(SECOND);
    }
    for event in events {
        world.succeeded(&paced, event).await;
    }
}

#[tokio::test]
async fn a_pace_that_people_set_holds_from_the_next_attempt_on() {
    let mut world = World::start().await;
    let paced = world.webhook("paced", |_| ()).await;
    let witness = world.webhook("witness", |webhook| webhook.active = false).await;
    let (first, _) = world.publish().await;
    world.succeeded(&paced, first).await;
    world.edit(&paced, |webhook| webhook.pace = Pace::per_minute(20)).await;
    for _ in 0..3 {
        world.publish().await;
    }
    for expected in 2..=4 {
        check_count(&mut world, &witness, expected).await;
        world.clock.advance(SECOND * 2);
        check_count(&mut world, &witness, expected).await;
        world.clock.advance(SECOND);
    }
    // Without a rate limit the message is sent at once.
    world.publish().await;
    world.publish().await;
    check_count(&mut world, &witness, 5).await;
    world.edit(&paced, |webhook| webhook.pace = None).await;
    check_count(&mut world, &witness, 6).await;
}

/// A ping does not wait, but the queue waits for the capacity that it used.
#[tokio::test]
async fn pings_go_at_once_and_count() {
    let mut world = World::start().await;
    let paced = world.webhook("paced", |webhook| webhook.pace = Pace::per_minute(60)).await;
    let witness = world.webhook("witness", |webhook| webhook.active = false).await;
    let (first, _) = world.publish().await;
    world.succeeded(&paced, first).await;
    for _ in 0..2 {
        world.handle().ping(std::sync::Arc::new(paced.clone())).await.expect("made");
    }
    let (second, _) = world.publish().await;
    world.clock.advance(SECOND * 2);
    check_count(&mut world, &witness, 3).await;
    world.clock.advance(SECOND);
    world.succeeded(&paced, second).await;
}
