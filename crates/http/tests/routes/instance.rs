//! The instance: hold on sending, master key, backups, audit log.

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::support::{ADMIN, COPY, World, request, without};

#[tokio::test]
async fn sending_is_held_and_resumed() {
    let world = World::start().await;
    let status = world.admin("GET", "/v1/instance", Value::Null).await.expect(200);
    assert_eq!(status["sending"], json!({"held": false}));
    let reasonless = world.admin("POST", "/v1/instance/sending/hold", json!({})).await;
    assert_eq!(reasonless.refusal(400), "reason is required");
    let hold = json!({"reason": "moving"});
    let held = world.admin("POST", "/v1/instance/sending/hold", hold.clone()).await.expect(200);
    assert_eq!(without(held, &["since"]), json!({"held": true, "reason": "moving"}));
    let again = world.admin("POST", "/v1/instance/sending/hold", hold).await;
    assert_eq!(again.refusal(409), "sending is held already");
    let resumed = world.admin("POST", "/v1/instance/sending/resume", Value::Null).await.expect(200);
    assert_eq!(resumed, json!({"held": false}));
    let again = world.admin("POST", "/v1/instance/sending/resume", Value::Null).await;
    assert_eq!(again.refusal(409), "sending is not held");
    let audit = world.admin("GET", "/v1/instance/audit?pageSize=2", Value::Null).await.expect(200);
    let actions: Vec<_> = audit.as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["sending.resume", "sending.hold"]);
}

#[tokio::test]
async fn a_master_key_that_cannot_change_is_an_error() {
    let world = World::start().await;
    let refused = world.admin("POST", "/v1/instance/master-key/rotate", Value::Null).await;
    assert_eq!(refused.refusal(409), "the master key is set by a variable");
}

#[tokio::test]
async fn a_backup_is_streamed_with_its_digest_and_leaves_nothing() {
    let world = World::start().await;
    let files = || std::fs::read_dir(world.scratch.path()).expect("the folder").count();
    let ask = || request(ADMIN, "POST", "/v1/instance/backup").body(Body::empty()).expect("a request");
    let response = world.router.clone().oneshot(ask()).await.expect("it cannot fail");
    assert_eq!(response.headers()["content-type"], "application/vnd.sqlite3");
    assert_eq!(response.headers()["content-length"], COPY.len().to_string());
    assert!(response.headers().get("content-encoding").is_none());
    let digest = response.headers()["content-digest"].to_str().expect("ASCII").to_owned();
    let second = world.send(ask()).await;
    assert_eq!(second.refusal(409), "a backup is being made or read, try again when it is done");
    assert_eq!(files(), 1);
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body, COPY);
    use base64::Engine as _;
    let expected = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(COPY));
    assert_eq!(digest, format!("sha-256=:{expected}:"));
    assert_eq!(files(), 0);
    // If the client hangs up, the copy is removed, and the next backup is possible.
    let response = world.router.clone().oneshot(ask()).await.expect("it cannot fail");
    assert_eq!(files(), 1);
    drop(response);
    assert_eq!(files(), 0);
    assert_eq!(world.send(ask()).await.body, COPY);
}
