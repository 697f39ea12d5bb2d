//! Callers: their addresses and their rate limits.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::body::Body;
use axum::extract::ConnectInfo;
use serde_json::{Value, json};
use stackbell_http::TrustedProxies;

use crate::support::{ADMIN, ORGANIZATION, World, request};

fn webhooks() -> String {
    format!("/v1/orgs/{ORGANIZATION}/webhooks")
}

#[tokio::test]
async fn a_token_has_a_rate_of_its_own() {
    let world = World::with(|settings| settings.requests_per_second = NonZeroU32::new(1)).await;
    let other = world.user("rick", None).await;
    world.admin("GET", &webhooks(), Value::Null).await.expect(200);
    let refused = loop {
        let answer = world.admin("GET", &webhooks(), Value::Null).await;
        if answer.status != 200 {
            break answer;
        }
    };
    let wait = refused.headers["retry-after"].to_str().expect("text").to_owned();
    let told = refused.expect(429);
    let text = told["message"].as_str().expect("a text");
    assert!(text.contains("1 requests a second") && text.contains("requests_per_second"), "{text}");
    assert_eq!(wait, "1");
    // Each token has its own limit. Requests without a valid token do not count for any limit.
    world.ask(&other, "GET", "/v1/orgs", Value::Null).await.expect(200);
    world.ask("nobody", "GET", &webhooks(), Value::Null).await.expect(401);
}

#[tokio::test]
async fn without_a_rate_as_many_come_as_come() {
    let world = World::start().await;
    for _ in 0..50 {
        world.admin("GET", &webhooks(), Value::Null).await.expect(200);
    }
}

/// The address of a request in the audit log.
async fn check_remote(world: &World, peer: &str, forwarded: &[&str], expected: &str) {
    let peer: SocketAddr = peer.parse().expect(peer);
    let path = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let mut post = request(ADMIN, "POST", &path).extension(ConnectInfo(peer));
    for value in forwarded {
        post = post.header("X-Forwarded-For", *value);
    }
    let token = json!({"name": format!("token-{}", peer.port()), "role": "publisher"});
    world.send(post.body(Body::from(token.to_string())).expect("a request")).await.expect(201);
    let listed = world.admin("GET", &format!("/v1/orgs/{ORGANIZATION}/audit"), Value::Null).await.expect(200);
    assert_eq!(listed[0]["remote"], expected, "{peer} {forwarded:?}: {listed}");
}

#[tokio::test]
async fn the_audit_log_knows_callers_behind_trusted_proxies() {
    let networks = ["10.0.0.0/8".parse().expect("a network")];
    let world = World::with(|settings| settings.trusted_proxies = TrustedProxies::new(networks)).await;
    check_remote(&world, "192.0.2.1:1", &[], "192.0.2.1").await;
    check_remote(&world, "192.0.2.1:2", &["198.51.100.7"], "192.0.2.1").await;
    check_remote(&world, "10.0.0.1:3", &["198.51.100.7"], "198.51.100.7").await;
    check_remote(&world, "10.0.0.1:4", &["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7").await;
    check_remote(&world, "[::ffff:192.0.2.1]:5", &[], "192.0.2.1").await;
}
