//! Requests' bodies, and how answers are encoded.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, World, request, webhook};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const EVENTS: &str = "/v1/orgs/crazy-adventures/events";

async fn post(world: &World, path: &str, body: impl Into<Body>) -> Answer {
    world.send(request(ADMIN, "POST", path).body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let world = World::start().await;
    for path in [HOOKS, EVENTS, "/v1/orgs"] {
        let empty = post(&world, path, Body::empty()).await.refusal(400);
        assert_eq!(empty, "the request has no body, and JSON is needed", "{path}");
        let latin = post(&world, path, &b"{\"name\":\"\xE9\"}"[..]).await.refusal(400);
        assert_eq!(latin, "the text is not UTF-8 from byte 9 on", "{path}");
        let text = post(&world, path, "x").await.refusal(400);
        assert!(!text.is_empty(), "{path}");
    }
    let twice = post(&world, HOOKS, r#"{"name":"a","name":"b"}"#).await;
    assert_eq!(twice.refusal(400), "body: name: the same key twice (at byte 12)");
    assert_eq!(twice.details(), ["Webhook name invalid"]);
    assert_eq!(post(&world, HOOKS, "[]").await.refusal(400), "body: must be a JSON object (at byte 0)");
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let world = World::start().await;
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    for path in [HOOKS, EVENTS, "/v1/orgs"] {
        let refusal = post(&world, path, large.clone()).await.refusal(413);
        assert_eq!(
            refusal, "a body may have at most 4194304 bytes (the setting request_bytes_max)",
            "{path}"
        );
        // One that does not say how long it is.
        let chunks =
            large.chunks(65_536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
        let streamed = Body::from_stream(futures_util::stream::iter(chunks));
        post(&world, path, streamed).await.refusal(413);
    }
    let refusal =
        post(&world, HOOKS, json!({"displayName": "x".repeat(300_000)}).to_string()).await.refusal(400);
    assert!(
        refusal.starts_with("body: displayName: longer than 262144 bytes without white space"),
        "{refusal}"
    );
}

#[tokio::test]
async fn encoded_bodies_are_refused_by_name() {
    let world = World::start().await;
    let ask = |encoding: &'static str| {
        let request = request(ADMIN, "POST", EVENTS).header("Content-Encoding", encoding);
        world.send(request.body(Body::from("[]")).expect("a request"))
    };
    let refusal = ask("gzip").await.refusal(415);
    assert_eq!(refusal, "a Content-Encoding is not accepted here, send the body as it is");
    assert_eq!(ask("identity").await.expect(202), json!([]));
}

#[tokio::test]
async fn pings_do_not_look_at_their_body() {
    let world = World::start().await;
    let created = webhook("a", "http://localhost.invalid/");
    world.admin("POST", HOOKS, created).await.expect(201);
    for body in ["", "null", "{", "\u{0}"] {
        post(&world, &format!("{HOOKS}/a/ping"), body).await.expect(200);
    }
}

#[tokio::test]
async fn gzip_only_for_those_who_ask() {
    let world = World::start().await;
    for index in 0..5 {
        world.admin("POST", HOOKS, webhook(&format!("w{index}"), "https://a.example/")).await.expect(201);
    }
    let ask = |accepted: Option<&'static str>| {
        let request = request(ADMIN, "GET", HOOKS);
        let request =
            accepted.into_iter().fold(request, |request, value| request.header("Accept-Encoding", value));
        world.send(request.body(Body::empty()).expect("a request"))
    };
    let plain = ask(None).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(ask(Some("identity")).await.body, plain.body);
    assert_eq!(ask(Some("br, gzip;q=0")).await.body, plain.body);
    let encoded = ask(Some("gzip")).await;
    assert_eq!(encoded.status, StatusCode::OK);
    assert_eq!(encoded.headers.get_all("content-encoding").iter().collect::<Vec<_>>(), ["gzip"]);
    assert_eq!(encoded.header("content-type"), Some("application/json"));
    assert_eq!(encoded.body[..2], [0x1f, 0x8b]);
    assert!(encoded.body.len() < plain.body.len());
}

#[tokio::test]
async fn what_the_accept_header_says_does_not_matter() {
    let world = World::start().await;
    for accepted in ["application/vnd.pulumi+9", "text/html", "nonsense", "*/*"] {
        let request = axum::http::Request::get(HOOKS)
            .header("Authorization", format!("token {ADMIN}"))
            .header("Accept", accepted);
        let answer = world.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.expect(200), Value::Array(Vec::new()), "{accepted}");
    }
}
