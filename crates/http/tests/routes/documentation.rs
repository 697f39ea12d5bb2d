//! The curl examples of Pulumi's documentation (D1 to D8).

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Receiver, World};

const ORG: &str = "/api/orgs/crazy-adventures/hooks";
const STACK: &str = "/api/stacks/crazy-adventures/website/website-prod/hooks";

fn d1_body() -> Value {
    json!({
        "active": true, "displayName": "My Webhook", "organizationName": "crazy-adventures",
        "payloadUrl": "https://example.com/webhook",
    })
}

fn d2_body() -> Value {
    json!({
        "active": true, "displayName": "My Webhook", "organizationName": "crazy-adventures",
        "projectName": "website", "stackName": "website-prod", "payloadUrl": "https://example.com/webhook",
    })
}

fn name(webhook: &Value) -> &str {
    webhook["name"].as_str().expect("a name")
}

#[tokio::test]
async fn d1_create_an_organization_webhook() {
    let world = World::start().await;
    let created = world.admin("POST", ORG, d1_body()).await.expect(201);
    let name = name(&created).to_owned();
    assert!(name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{name}");
    let expected = json!({
        "organizationName": "crazy-adventures", "name": name, "displayName": "My Webhook",
        "payloadUrl": "https://example.com/webhook", "active": true, "format": "raw", "filters": [],
        "groups": [], "hasSecret": false, "secretCiphertext": "",
    });
    assert_eq!(created, expected);
}

#[tokio::test]
async fn d2_create_a_stack_webhook() {
    let world = World::start().await;
    let created = world.admin("POST", STACK, d2_body()).await.expect(201);
    assert_eq!(created["projectName"], "website");
    assert_eq!(created["stackName"], "website-prod");
    assert_eq!(created["envName"], Value::Null);
}

#[tokio::test]
async fn d3_formats_filters_and_secrets() {
    let world = World::start().await;
    let slack = json!({
        "active": true, "displayName": "#stack_failures-channel", "organizationName": "crazy-adventures",
        "projectName": "website", "stackName": "website-prod", "format": "slack",
        "payloadUrl": "https://hooks.slack.com/services/T/B/x", "filters": ["update_failed", "preview_failed"],
        "secret": "mysecret",
    });
    let created = world.admin("POST", STACK, slack).await.expect(201);
    assert_eq!(created["format"], "slack");
    assert_eq!(created["filters"], json!(["update_failed", "preview_failed"]));
    assert_eq!(created["hasSecret"], true);
    assert_eq!(created["secretCiphertext"].as_str().map(str::len), Some(64));
    assert!(created.get("secret").is_none());
    let mut deployments = d2_body();
    deployments["format"] = json!("pulumi_deployments");
    deployments["payloadUrl"] = json!("website/website-prod");
    let created = world.admin("POST", STACK, deployments).await.expect(201);
    assert_eq!(created["payloadUrl"], "website/website-prod");
}

#[tokio::test]
async fn d4_list_and_get() {
    let world = World::start().await;
    let first = world.admin("POST", ORG, d1_body()).await.expect(201);
    let second = world.admin("POST", ORG, d1_body()).await.expect(201);
    world.admin("POST", STACK, d2_body()).await.expect(201);
    let list = world.admin("GET", ORG, Value::Null).await;
    assert_eq!(list.expect(200), json!([first, second]));
    assert_eq!(list.header("link"), None);
    let one = world.admin("GET", &format!("{ORG}/{}", name(&first)), Value::Null).await.expect(200);
    assert_eq!(one, first);
}

#[tokio::test]
async fn d5_update_leaves_what_is_not_sent() {
    let world = World::start().await;
    let mut body = d1_body();
    body["secret"] = json!("mysecret");
    body["filters"] = json!(["update_failed"]);
    body["groups"] = json!(["stacks", "deployments"]);
    let mut expected = world.admin("POST", ORG, body).await.expect(201);
    let path = format!("{ORG}/{}", name(&expected));
    let change = json!({"active": false, "displayName": "Updated Webhook Name"});
    let changed = world.admin("PATCH", &path, change).await.expect(200);
    expected["active"] = json!(false);
    expected["displayName"] = json!("Updated Webhook Name");
    assert_eq!(changed, expected);
    assert_eq!(world.admin("GET", &path, Value::Null).await.expect(200), expected);
}

#[tokio::test]
async fn d6_delete() {
    let world = World::start().await;
    for (path, body) in [(ORG, d1_body()), (STACK, d2_body())] {
        let created = world.admin("POST", path, body).await.expect(201);
        let path = format!("{path}/{}", name(&created));
        world.admin("DELETE", &path, Value::Null).await.expect_empty(204);
        world.admin("GET", &path, Value::Null).await.expect(404);
        // A second delete is no error.
        world.admin("DELETE", &path, Value::Null).await.expect_empty(204);
    }
}

#[tokio::test]
async fn d7_ping() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::ACCEPTED).await;
    let mut body = d1_body();
    body["payloadUrl"] = json!(receiver.url());
    let created = world.admin("POST", ORG, body).await.expect(201);
    let pinged =
        world.admin("POST", &format!("{ORG}/{}/ping", name(&created)), Value::Null).await.expect(200);
    let received = receiver.next().await;
    assert_eq!(received.headers["pulumi-webhook-kind"], "ping");
    assert_eq!(pinged["payload"].as_str().map(str::as_bytes), Some(received.body.as_ref()));
    assert_eq!(pinged["responseCode"], 202);
    assert_eq!(pinged["kind"], "ping");
    assert_eq!(pinged.as_object().map(serde_json::Map::len), Some(10));
}

#[tokio::test]
async fn d8_deliveries() {
    let world = World::start().await;
    let receiver = Receiver::answering(StatusCode::OK).await;
    let mut body = d1_body();
    body["payloadUrl"] = json!(receiver.url());
    let created = world.admin("POST", ORG, body).await.expect(201);
    let path = format!("{ORG}/{}", name(&created));
    let pinged = world.admin("POST", &format!("{path}/ping"), Value::Null).await.expect(200);
    let deliveries = world.admin("GET", &format!("{path}/deliveries"), Value::Null).await.expect(200);
    assert_eq!(deliveries, json!([pinged]));
    let missing = world.admin("GET", &format!("{ORG}/nothing/deliveries"), Value::Null).await.expect(200);
    assert_eq!(missing, json!([]));
}
