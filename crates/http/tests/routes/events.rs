//! Publishing one event or an array.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, ORGANIZATION, Receiver, World, event, stack_update, webhook};

const EVENTS: &str = "/v1/orgs/crazy-adventures/events";
const ID: &str = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
const OTHER_ID: &str = "8d001000-7ef4-4086-b12a-3ec6d3ea1de9";

#[tokio::test]
async fn one_event_is_accepted_and_delivered() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", &receiver.url())).await.expect(201);
    let accepted = world.admin("POST", EVENTS, event(Some(ID))).await.expect(202);
    let expected =
        json!({"id": ID, "kind": "stack_update", "filters": ["update_succeeded"], "deliveries": 1});
    assert_eq!(accepted, expected);
    let received = receiver.next().await;
    assert_eq!(received.headers["pulumi-webhook-id"], ID);
    assert_eq!(received.headers["pulumi-webhook-kind"], "stack_update");
    let stored = world.admin("GET", &format!("{EVENTS}/{ID}"), Value::Null).await;
    assert!(
        stored
            .text()
            .ends_with(&format!("\"payload\":{}}}", std::str::from_utf8(&received.body).expect("UTF-8")))
    );
}

#[tokio::test]
async fn a_redelivery_keeps_id_and_bytes() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::METHOD_NOT_ALLOWED).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", &receiver.url())).await.expect(201);
    world.admin("POST", EVENTS, event(Some(ID))).await.expect(202);
    let first = receiver.next().await;
    let path = format!("{hooks}/a/deliveries/{ID}/redeliver");
    let again = world.admin("POST", &path, Value::Null).await.expect(200);
    let second = receiver.next().await;
    assert_eq!(first.body, second.body);
    assert_eq!(second.headers["pulumi-webhook-id"], ID);
    assert_eq!(again["id"], ID);
    assert_eq!(again["responseCode"], 405);
    let other = format!("{hooks}/a/deliveries/{OTHER_ID}/redeliver");
    assert_eq!(
        world.admin("POST", &other, Value::Null).await.refusal(404),
        format!("Event '{OTHER_ID}' not found")
    );
}

#[tokio::test]
async fn arrays_are_answered_in_order() {
    let world = World::start().await;
    assert_eq!(world.admin("POST", EVENTS, json!([])).await.expect(202), json!([]));
    let events = json!([event(Some(ID)), event(Some(OTHER_ID)), event(None)]);
    let accepted = world.admin("POST", EVENTS, events).await.expect(202);
    assert_eq!(accepted.as_array().map(Vec::len), Some(3));
    assert_eq!(accepted[0]["id"], ID);
    assert_eq!(accepted[1]["id"], OTHER_ID);
    let one = world.admin("POST", EVENTS, json!([event(None)])).await.expect(202);
    assert_eq!(one.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_duplicate_event_gets_the_first_response() {
    let world = World::start().await;
    let first = world.admin("POST", EVENTS, event(Some(ID))).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", "https://a.example/")).await.expect(201);
    let again = world.admin("POST", EVENTS, event(Some(ID))).await;
    assert_eq!(again.status, first.status);
    assert_eq!(again.body, first.body);
    let mut other = event(Some(ID));
    other["payload"]["stackName"] = json!("other");
    let answer = world.admin("POST", EVENTS, other.clone()).await;
    answer.refusal(409);
    assert_eq!(answer.details(), ["Event id already_exists"]);
    // All events are accepted, or none.
    let array = json!([event(Some(OTHER_ID)), other]);
    let refusal = world.admin("POST", EVENTS, array).await.refusal(409);
    assert_eq!(refusal, "the id of event 1 belongs to an event with other content");
    world.admin("GET", &format!("{EVENTS}/{OTHER_ID}"), Value::Null).await.expect(404);
}

async fn check(world: &World, body: Value, message: &str, details: &[&str]) {
    let answer = world.admin("POST", EVENTS, body.clone()).await;
    let refusal = answer.refusal(400);
    assert!(refusal.starts_with(message), "{body}: {refusal}");
    assert_eq!(answer.details(), details, "{body}");
}

#[tokio::test]
async fn an_invalid_event_is_named_with_its_index() {
    let world = World::start().await;
    check(&world, json!({"payload": {}}), "kind is required", &["Event kind required"]).await;
    let unknown = json!({"kind": "ping", "payload": {}});
    check(&world, unknown, "kind must be one of 'stack', ", &["Event kind invalid"]).await;
    let mut foreign = event(None);
    foreign["payload"]["organization"] = json!({"githubLogin": "other"});
    let message = "payload.organization.githubLogin must be 'crazy-adventures'";
    check(&world, foreign, message, &["Event payload.organization.githubLogin invalid"]).await;
    let second = |wrong: Value| json!([event(None), wrong]);
    let missing = json!({"kind": "stack", "payload": {"action": "created", "projectName": "p"}});
    let message = "[1].payload.stackName is required";
    check(&world, second(missing), message, &["Event [1].payload.stackName required"]).await;
    let id = json!({"kind": "stack", "payload": {}, "id": "x"});
    check(&world, second(id), "[1].id must be a UUID", &["Event [1].id invalid"]).await;
    let misspelt = json!({"kind": "stack", "payload": {}, "Id": ID});
    check(&world, second(misspelt), "[1]: unknown field `Id`", &["Event [1] invalid"]).await;
    let many = Value::Array(vec![event(None); 1001]);
    check(&world, many, "at most 1000 events may be sent in one array", &[]).await;
    let unknown = world.admin("POST", &format!("{EVENTS}?async=1"), event(None)).await.refusal(400);
    assert_eq!(unknown, "this route has no query parameter 'async'; it has 'results'");
    let results = world.admin("POST", &format!("{EVENTS}?results=lines"), event(None)).await.refusal(400);
    assert_eq!(results, "results is for application/x-ndjson alone");
}

#[tokio::test]
async fn a_large_array_is_read_elsewhere_and_accepted_whole() {
    let world = World::start().await;
    let mut payload = stack_update("website-prod");
    payload["updateUrl"] = json!("x".repeat(3000));
    let events = vec![json!({"kind": "stack_update", "payload": payload}); 1000];
    let accepted = world.admin("POST", EVENTS, Value::Array(events)).await.expect(202);
    assert_eq!(accepted.as_array().map(Vec::len), Some(1000));
}

#[tokio::test]
async fn a_service_token_publishes_without_a_user() {
    let world = World::start().await;
    let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let issued = world.admin("POST", &tokens, json!({"name": "ci", "role": "publisher"})).await.expect(201);
    let token = issued["token"].as_str().expect("a token");
    world.ask(token, "POST", EVENTS, event(Some(ID))).await.expect(202);
    let stored = world.ask(ADMIN, "GET", &format!("{EVENTS}/{ID}"), Value::Null).await.expect(200);
    assert!(stored["payload"].get("user").is_none());
    assert_eq!(stored["payload"]["organization"]["githubLogin"], ORGANIZATION);
    // An event with the same id and content from another sender is a duplicate, too.
    world.admin("POST", EVENTS, event(Some(ID))).await.expect(202);
}
