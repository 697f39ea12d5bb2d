//! Bodies that arrive late. Until then the client may hang up, or the caller may lose rights.

use std::pin::pin;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{poll, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::support::{ADMIN, ORGANIZATION, World, request, webhook};

/// A request, and a sender for its body.
fn late(token: &str, method: &str, path: &str) -> (axum::http::Request<Body>, oneshot::Sender<Bytes>) {
    let (sender, body) = oneshot::channel();
    let body = Body::from_stream(stream::once(body));
    (request(token, method, path).body(body).expect("a request"), sender)
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_hangs_up() {
    let world = World::start().await;
    let (request, body) = late(ADMIN, "POST", "/v1/orgs");
    {
        let mut answer = pin!(world.router.clone().oneshot(request));
        assert!(poll!(answer.as_mut()).is_pending());
    }
    body.send(json!({"name": "citadel"}).to_string().into()).expect("somebody still reads");
    world.changes.close();
    world.changes.wait().await;
    world.admin("GET", "/v1/orgs/citadel/members", Value::Null).await.expect(200);
}

/// The response to an admin and operator who loses the rights while the body is arriving.
async fn check(stop: &str, method: &str, path: &str, body: Value, expected: u16) {
    let world = World::start().await;
    let rick = json!({"login": "rick", "role": "admin", "operator": true});
    let token = world.admin("POST", "/v1/users", rick).await.expect(201);
    let token = token["token"].as_str().expect("a token").to_owned();
    world
        .admin("PUT", &format!("/v1/orgs/{ORGANIZATION}/members/rick"), json!({"role": "admin"}))
        .await
        .expect(200);
    let (request, sender) = late(&token, method, path);
    let mut answer = pin!(world.send(request));
    assert!(poll!(answer.as_mut()).is_pending());
    let member = format!("/v1/orgs/{ORGANIZATION}/members/rick");
    match stop {
        "revoked" => {
            let listed = world.admin("GET", "/v1/users/rick/tokens", Value::Null).await.expect(200);
            let id = listed[0]["id"].as_str().expect("an id");
            world
                .admin("DELETE", &format!("/v1/users/rick/tokens/{id}"), Value::Null)
                .await
                .expect_empty(204);
        }
        "removed" => world.admin("DELETE", &member, Value::Null).await.expect_empty(204),
        _ => {
            world.admin("PUT", &member, json!({"role": "viewer"})).await.expect(200);
        }
    }
    sender.send(body.to_string().into()).expect("somebody reads");
    let answer = answer.await;
    assert_eq!(answer.status.as_u16(), expected, "{stop} {method} {path}: {}", answer.text());
}

#[tokio::test]
async fn a_stale_caller_changes_nothing() {
    let members = format!("/v1/orgs/{ORGANIZATION}/members/morty");
    let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    for (stop, expected) in [("revoked", 401), ("removed", 404), ("demoted", 403)] {
        check(stop, "PUT", &members, json!({"role": "viewer"}), expected).await;
        check(stop, "POST", &tokens, json!({"name": "x", "role": "viewer"}), expected).await;
        check(stop, "POST", &hooks, webhook("x", "https://a.example/"), expected).await;
    }
    check("revoked", "POST", "/v1/user/tokens", json!({"name": "x", "role": "viewer"}), 401).await;
    check("revoked", "POST", "/v1/users", json!({"login": "x"}), 401).await;
    check("revoked", "POST", "/v1/orgs", json!({"name": "x"}), 401).await;
}
