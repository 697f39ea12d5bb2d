//! Chat formats: the requests, and the responses of chat services.

use std::time::Duration;

use stackbell_model::delivery::{Delivery, FailReason, State};
use stackbell_model::health::SuspensionReason;
use stackbell_model::secret::WebhookSecret;
use stackbell_model::webhook::{Format, Webhook};
use stackbell_testkit::Reply;
use stackbell_wire::signature::{SigningKey, SigningKeys};

use crate::world::{PAYLOAD, World};

const THROTTLED: &str = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 \
                         with ContextId MS-CV=abc.";

fn is_failed_once(delivery: &Delivery) -> bool {
    delivery.attempts_spent == 1 && matches!(delivery.state, State::Pending { .. })
}

/// One message for one event and format, signed when it is sent.
#[tokio::test]
async fn messages_are_rendered_once_and_signed_as_they_are_sent() {
    for format in [Format::Slack, Format::MsTeams] {
        let mut world = World::start().await;
        let signed = world.signed_webhook("signed", "test").await;
        world.edit(&signed, |webhook| webhook.format = format).await;
        let plain = world.webhook("plain", |webhook| webhook.format = format).await;
        let (event, _) = world.publish().await;
        world.succeeded(&signed, event).await;
        world.succeeded(&plain, event).await;
        let requests = world.receiver.requests();
        let request = requests.iter().find(|request| request.path == "/signed").expect("it came");
        assert_eq!(requests[0].body, requests[1].body);
        assert_eq!(request.header("Pulumi-Webhook-Kind"), Some("stack_update"));
        assert_eq!(request.header("Content-Type"), Some("application/json"));
        let stored = world.delivery(&signed, event).await;
        assert_eq!((&stored.payload, stored.delivery.body.as_ref()), (&request.body, Some(&request.body)));
        assert_ne!(request.text(), PAYLOAD);
        let secret = WebhookSecret::new("test").expect("short enough");
        let keys = SigningKeys { current: SigningKey::new(&secret), previous: None };
        let expected = keys.sign_pulumi(&request.body);
        assert_eq!(request.header("Pulumi-Webhook-Signature"), Some(expected.as_str()));
    }
}

/// Invariant 4: the payload is fixed when the event is accepted, however the webhook changes.
#[tokio::test]
async fn a_changed_format_is_for_later_events() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |webhook| webhook.format = Format::Slack).await;
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    world.edit(&webhook, |webhook| webhook.format = Format::Raw).await;
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    let (later, _) = world.publish().await;
    world.succeeded(&webhook, later).await;
    let requests = world.receiver.requests();
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[2].text(), PAYLOAD);
}

/// The record shows the endpoint's response; delivery, health and metrics show the error in it.
#[tokio::test]
async fn a_throttled_message_for_teams_is_a_failure_behind_a_200() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |webhook| webhook.format = Format::MsTeams).await;
    world.receiver.then([Reply::status(200).body(THROTTLED), Reply::status(202).body("")]);
    let (event, _) = world.publish().await;
    world.delivery_when("a failure", &webhook, event, is_failed_once).await;
    let attempts = world.attempts(&webhook).await;
    assert_eq!(attempts[0].outcome.status(), 200);
    assert_eq!(world.stored(&webhook).await.health.failures, 1);
    let due = world.stored(&webhook).await.health.retry_after.expect("the webhook waits").until;
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    assert_eq!(world.stored(&webhook).await.health.failures, 0);
    let hours =
        world.store.tallies(world.organization, None, crate::world::BEGIN.before(HOUR), due.after(HOUR));
    let tallies = hours.await.expect("a store");
    let (attempts, failed) =
        tallies.iter().fold((0, 0), |(a, f), hour| (a + hour.tally.attempts, f + hour.tally.attempts_failed));
    assert_eq!((attempts, failed), (2, 1));
    let metrics = world.metrics.encode().expect("text");
    assert!(metrics.contains("stackbell_attempts_total{result=\"throttled\"} 1"), "{metrics}");
}

const HOUR: Duration = Duration::from_secs(3600);

/// A retry cannot help if Teams rejects a message: the delivery fails at once, and the attempt says so.
#[tokio::test]
async fn a_message_that_teams_refuses_is_lost_at_once() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |webhook| webhook.format = Format::MsTeams).await;
    for status in [413, 400] {
        let said = format!("Microsoft Teams endpoint returned HTTP error {status} with ContextId MS-CV=abc.");
        world.receiver.then([Reply::status(200).body(said)]);
        let (event, _) = world.publish().await;
        let is_failed = |delivery: &Delivery| matches!(delivery.state, State::Failed { .. });
        let delivery = world.delivery_when("the end", &webhook, event, is_failed).await;
        assert!(
            matches!(delivery.state, State::Failed { reason: FailReason::Undeliverable, .. }),
            "{delivery:?}"
        );
        let outcome = world.attempts(&webhook).await.remove(0).outcome;
        assert_eq!(outcome.status(), 200);
        let reason = outcome.hidden_error().expect("a reason").to_string();
        assert!(
            reason.contains(&format!("HTTP error {status}")) && reason.contains("no retry helps"),
            "{reason}"
        );
    }
    assert_eq!(world.receiver.count(), 2);
    let metrics = world.metrics.encode().expect("text");
    assert!(metrics.contains("stackbell_attempts_total{result=\"status\"} 2"), "{metrics}");
}

/// A temporary error of Teams is retried.
#[tokio::test]
async fn a_message_that_teams_failed_to_take_is_tried_again() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |webhook| webhook.format = Format::MsTeams).await;
    world.receiver.then([Reply::status(202).body("Microsoft Teams endpoint returned HTTP error 503")]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
}

/// Other endpoints may send any text with a 2xx.
#[tokio::test]
async fn the_same_body_from_another_endpoint_is_success() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(200).body(THROTTLED)]);
    let (event, _) = world.publish().await;
    world.succeeded(&webhook, event).await;
}

async fn slack_after(reply: Reply) -> (World, Webhook, Delivery) {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |webhook| webhook.format = Format::Slack).await;
    world.receiver.then([reply]);
    let (event, _) = world.publish().await;
    let delivery = world.delivery_when("a failure", &webhook, event, is_failed_once).await;
    (world, webhook, delivery)
}

#[tokio::test]
async fn slack_may_ask_to_wait() {
    let (world, webhook, delivery) = slack_after(Reply::status(429).header("Retry-After", "60")).await;
    let until = world.stored(&webhook).await.health.retry_after.expect("the webhook waits").until;
    assert_eq!(until.since(delivery.created_at), Duration::from_secs(60));
    assert_eq!(delivery.state, State::Pending { due_at: delivery.created_at }, "it keeps its place");
}

#[tokio::test]
async fn an_archived_channel_suspends() {
    let (world, webhook, _) = slack_after(Reply::status(410).body("channel_is_archived")).await;
    let suspension = world.stored(&webhook).await.health.suspension;
    assert_eq!(suspension.map(|suspension| suspension.reason), Some(SuspensionReason::Gone));
}
