//! Starting deployments of other stacks, against a simulated API.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Clock as _;
use stackbell_model::delivery::{Delivery, FailReason, Outcome, Silence, State};
use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::ids::EventId;
use stackbell_model::names::{ProjectName, StackName};
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_testkit::{Gate, Reply};

use crate::world::World;

const TOKEN: &str = "pul-0123456789abcdef";

const STARTED: &str =
    r#"{"id":"5a1c","version":7,"consoleUrl":"https://app.example/acme/infra/prod/deployments/7"}"#;

fn started() -> Reply {
    Reply::status(202).body(STARTED)
}

async fn set_credential(world: &mut World, api_url: &str, stacks: &[&str]) {
    let sealed = world.keyring.seal_deployments_token(world.organization, TOKEN, &mut world.entropy);
    let credential = DeploymentsCredential {
        organization: world.organization,
        api_url: api_url.parse().expect("a URL"),
        token: sealed,
        stacks: stacks.iter().map(|text| StackReference::parse(text).expect("a stack")).collect(),
        set_at: world.clock.now(),
    };
    let audit = world.audit();
    assert!(world.store.set_deployments_credential(&credential, audit).await.expect("a store"));
}

/// A webhook that starts `infra/prod`.
async fn runs(world: &mut World) -> Webhook {
    let project = ProjectName::parse("web").expect("a name");
    let stack = StackName::parse("prod").expect("a name");
    let format = Format::PulumiDeployments;
    world
        .webhook("runs", |webhook| {
            webhook.scope = Scope::Stack { project, stack };
            webhook.format = format;
            webhook.payload_url = PayloadUrl::parse("infra/prod", format, &[]).expect("a stack");
        })
        .await
}

async fn world_with_credential() -> (World, Webhook) {
    let mut world = World::start().await;
    let url = world.receiver.url("");
    set_credential(&mut world, &url, &["infra/dev", "infra/prod"]).await;
    let webhook = runs(&mut world).await;
    (world, webhook)
}

async fn failed(world: &World, webhook: &Webhook, event: EventId) -> FailReason {
    let is_failed = |delivery: &Delivery| matches!(delivery.state, State::Failed { .. });
    match world.delivery_when("failure", webhook, event, is_failed).await.state {
        State::Failed { reason, .. } => reason,
        state => unreachable!("it failed: {state:?}"),
    }
}

#[tokio::test]
async fn an_event_starts_a_deployment_with_the_organizations_token() {
    let (mut world, webhook) = world_with_credential().await;
    world.receiver.then([started()]);
    let (event, _) = world.publish().await;
    world.succeeded(&webhook, event).await;
    let request = &world.receiver.requests()[0];
    let path = "/api/stacks/acme/infra/prod/deployments";
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", path));
    assert_eq!(request.text(), r#"{"operation":"update"}"#);
    assert_eq!(request.header("Authorization"), Some(format!("token {TOKEN}").as_str()));
    assert_eq!(request.header("Accept"), Some("application/vnd.pulumi+8"));
    assert_eq!(request.header("Pulumi-Webhook-Kind"), Some("stack_update"));
    assert_eq!(request.id(), event.to_string());
    let attempt = &world.attempts(&webhook).await[0];
    assert_eq!(&*attempt.request_url, world.receiver.url(path));
    assert!(attempt.request_headers.starts_with("Accept: application/vnd.pulumi+8\r\nContent-Type: "));
    assert!(!attempt.request_headers.contains("uthorization") && !attempt.request_headers.contains(TOKEN));
    assert_eq!(attempt.outcome.response().map(|answer| &*answer.body), Some(STARTED));
}

/// A request is not repeated if it may have started a deployment, or if no repetition can succeed.
#[tokio::test]
async fn requests_that_may_have_started_a_deployment_are_not_retried() {
    let replies = [
        (Reply::status(404).body(r#"{"code":404,"message":"Not Found: Stack 'infra/prod' not found"}"#), 404),
        (Reply::status(401), 401),
        (Reply::status(500), 500),
        (Reply::close(), 0),
    ];
    let (mut world, webhook) = world_with_credential().await;
    for (count, (reply, status)) in (1..).zip(replies) {
        world.receiver.then([reply]);
        let (event, _) = world.publish().await;
        assert_eq!(failed(&world, &webhook, event).await, FailReason::NotRepeatable, "{status}");
        let attempts = world.attempts(&webhook).await;
        assert_eq!((attempts.len(), attempts[0].outcome.status()), (count, status));
    }
    assert_eq!(world.receiver.count(), 4);
}

/// If the connection breaks after the request was written, a deployment may have started. The request is written once.
#[tokio::test]
async fn a_run_is_never_asked_for_on_a_connection_that_has_served_others() {
    let (mut world, webhook) = world_with_credential().await;
    world.receiver.then([started(), Reply::close()]);
    let (event, _) = world.publish().await;
    world.succeeded(&webhook, event).await;
    let (event, _) = world.publish().await;
    assert_eq!(failed(&world, &webhook, event).await, FailReason::NotRepeatable);
    assert_eq!((world.receiver.count(), world.receiver.connections()), (2, 2));
}

#[tokio::test]
async fn requests_that_started_no_deployment_are_retried() {
    let (mut world, webhook) = world_with_credential().await;
    let asks_to_wait = Reply::status(429).header("Retry-After", "90");
    world.receiver.then([asks_to_wait, Reply::status(503), started()]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    assert_eq!(due.since(world.clock.now()), Duration::from_secs(90));
    world.clock.advance_to(due);
    let due = world.due_after(&webhook, event, 2).await;
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    assert_eq!(world.receiver.count(), 3);
}

#[tokio::test]
async fn without_a_connection_it_is_tried_again() {
    let (mut world, webhook) = world_with_credential().await;
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    set_credential(&mut world, &format!("http://{address}"), &["infra/prod"]).await;
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    let url = world.receiver.url("/");
    set_credential(&mut world, &url, &["infra/prod"]).await;
    world.receiver.then([started()]);
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    assert_eq!(world.receiver.requests()[0].path, "/api/stacks/acme/infra/prod/deployments");
}

/// Invariant 7 applies to the API as to any endpoint.
#[tokio::test]
async fn the_policy_holds_for_the_api() {
    let (mut world, webhook) = world_with_credential().await;
    set_credential(&mut world, "http://10.1.2.3/pulumi/", &["infra/prod"]).await;
    let (event, _) = world.publish().await;
    world.due_after(&webhook, event, 1).await;
    let attempt = &world.attempts(&webhook).await[0];
    assert!(
        matches!(attempt.outcome, Outcome::Unanswered { silence: Silence::Forbidden, .. }),
        "{:?}",
        attempt.outcome
    );
    assert_eq!(&*attempt.request_url, "http://10.1.2.3/pulumi/api/stacks/acme/infra/prod/deployments");
}

async fn check_undeliverable(world: &mut World, webhook: &Webhook, expected: &str) {
    let (event, _) = world.publish().await;
    assert_eq!(failed(world, webhook, event).await, FailReason::Undeliverable);
    match &world.attempts(webhook).await[0].outcome {
        Outcome::Undeliverable { text } => assert_eq!(&**text, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.receiver.connections(), 0);
}

#[tokio::test]
async fn nothing_is_started_without_leave() {
    let mut world = World::start().await;
    let webhook = runs(&mut world).await;
    let none = "the organization has no credential for starting deployments: an admin sets one with PUT /v1/orgs/acme/deployments";
    check_undeliverable(&mut world, &webhook, none).await;
    let url = world.receiver.url("");
    set_credential(&mut world, &url, &["infra/dev"]).await;
    let unlisted = "stack infra/prod is not among those that may be started: an admin adds it with PUT /v1/orgs/acme/deployments";
    check_undeliverable(&mut world, &webhook, unlisted).await;
    assert_eq!(world.stored(&webhook).await.health.failures, 0, "no endpoint failed");
}

#[tokio::test]
async fn a_ping_looks_and_starts_nothing() {
    let (world, webhook) = world_with_credential().await;
    for status in [200, 404] {
        world.receiver.then([Reply::status(status)]);
        let made = world.handle().ping(Arc::new(webhook.clone())).await.expect("made");
        assert_eq!(made.attempt.outcome.status(), status);
        assert_eq!(matches!(made.delivery.delivery.state, State::Succeeded { .. }), status == 200);
        assert_eq!(world.attempts(&webhook).await[0].outcome, made.attempt.outcome);
    }
    for request in world.receiver.wait_for(2).await {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/api/stacks/acme/infra/prod"));
        assert_eq!(request.header("Authorization"), Some(format!("token {TOKEN}").as_str()));
        assert!(request.body.is_empty());
    }
}

/// The request may have started a deployment, so only a person may start another.
#[tokio::test]
async fn a_run_that_our_stop_cut_is_not_started_again() {
    let (mut world, webhook) = world_with_credential().await;
    let gate = Gate::new();
    world.receiver.then([started().behind(&gate)]);
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    let mut world = world.restart(Duration::ZERO).await;
    assert_eq!(failed(&world, &webhook, event).await, FailReason::Undeliverable);
    let (later, _) = world.publish().await;
    world.succeeded(&webhook, later).await;
    assert_eq!(world.receiver.count(), 2);
    assert_eq!(world.stored(&webhook).await.health.failures, 0);
}
