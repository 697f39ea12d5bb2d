//! Error responses of all layers.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{ADMIN, World, event, request};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";

async fn check_unauthenticated(world: &World, authorization: Option<&str>) {
    let request = Request::get(HOOKS);
    let request =
        authorization.into_iter().fold(request, |request, value| request.header("Authorization", value));
    let answer = world.send(request.body(Body::empty()).expect("a request")).await;
    let expected = r#"{"code":401,"message":"Unauthorized: No credentials provided or are invalid."}"#;
    assert_eq!(answer.text(), expected, "{authorization:?}");
    answer.expect(401);
}

#[tokio::test]
async fn invalid_tokens() {
    let world = World::start().await;
    check_unauthenticated(&world, None).await;
    check_unauthenticated(&world, Some("token pul-0000")).await;
    check_unauthenticated(&world, Some(ADMIN)).await;
    check_unauthenticated(&world, Some(&format!("Basic {ADMIN}"))).await;
    check_unauthenticated(&world, Some(&format!("update-token {ADMIN}"))).await;
    for scheme in ["token", "Token", "Bearer", "bearer"] {
        let request = Request::get(HOOKS).header("Authorization", format!("{scheme} {ADMIN}"));
        world.send(request.body(Body::empty()).expect("a request")).await.expect(200);
    }
}

#[tokio::test]
async fn unknown_routes_and_methods() {
    let world = World::start().await;
    for path in ["/", "/api", "/api/", "/v2/orgs", "/api/orgs/x/hooks/", "/healthz/x"] {
        assert_eq!(
            world.admin("GET", path, Value::Null).await.refusal(404),
            "there is no such route",
            "{path}"
        );
    }
    let answer = world.admin("PUT", HOOKS, Value::Null).await;
    assert_eq!(answer.refusal(405), "this route has other methods, see the Allow header");
    let mut allowed: Vec<_> = answer.header("allow").expect("Allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let answer = world.admin("GET", "/api/crazy-adventures/p/s/hooks/a", Value::Null).await;
    answer.refusal(405);
    assert_eq!(answer.header("allow"), Some("DELETE"));
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for path in [HOOKS, HOOKS, "/nowhere", "/healthz"] {
        let answer = world.admin("GET", path, Value::Null).await;
        let id = answer.header("x-pulumi-request-id").expect("an id").to_owned();
        assert_eq!(id.len(), 32);
        assert!(!ids.contains(&id));
        ids.push(id);
    }
}

#[tokio::test]
async fn a_missing_webhook() {
    let world = World::start().await;
    let answer = world.admin("GET", &format!("{HOOKS}/x"), Value::Null).await;
    assert_eq!(answer.text(), r#"{"code":404,"message":"Not Found: Webhook 'x' not found"}"#);
}

#[tokio::test]
async fn temporary_failures_ask_for_another_try() {
    let mut world = World::start().await;
    world.stop_engine().await;
    let path = "/v1/orgs/crazy-adventures/events";
    let answer = world.admin("POST", path, event(None)).await;
    assert_eq!(answer.refusal(503), "the store cannot be reached, try again");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let mut lines =
        request(ADMIN, "POST", path).body(Body::from(event(None).to_string())).expect("a request");
    lines.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
    let refusal = json!({"line": 1, "code": 503, "message": "the store cannot be reached, try again"});
    let expected = json!({"accepted": 0, "duplicates": 0, "refused": 1, "refusals": [refusal]});
    assert_eq!(world.send(lines).await.expect(202), expected);
}
