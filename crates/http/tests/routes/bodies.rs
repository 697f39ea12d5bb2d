//! Request bodies, and the encoding of responses.

use std::io::Write as _;

use axum::body::Body;
use axum::http::StatusCode;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{ADMIN, TestResponse, World, event, request, webhook};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const EVENTS: &str = "/v1/orgs/crazy-adventures/events";

async fn post(world: &World, path: &str, body: impl Into<Body>) -> TestResponse {
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

/// Method and path of every route with a body in the OpenAPI document. Each parameter has a value.
fn routes_with_bodies() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../golden/openapi.json")).expect("JSON");
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{orgName}", "crazy-adventures");
        let parts = path.split('/').map(|part| if part.starts_with('{') { "some" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let with_body = operations.as_object().expect("operations").iter();
        let with_body = with_body.filter(|(_, operation)| operation.get("requestBody").is_some());
        routes.extend(with_body.map(|(method, _)| (method.to_uppercase(), path.clone())));
    }
    assert!(routes.len() >= 19, "{routes:?}");
    routes
}

/// Source: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
#[tokio::test]
async fn a_byte_order_mark_before_json_is_ignored_by_every_route() {
    let world = World::start().await;
    for (method, path) in routes_with_bodies() {
        // No route accepts these bodies. Each is refused because of the text after the mark.
        for body in ["\"text\"", r#"{"nosuch":1,"nosuch":2}"#] {
            let ask = |body: String| {
                world.send(request(ADMIN, &method, &path).body(body.into()).expect("a request"))
            };
            let (plain, marked) = (ask(body.to_owned()).await, ask(format!("\u{feff}{body}")).await);
            assert_eq!(
                (marked.status, marked.text()),
                (plain.status, plain.text()),
                "{method} {path} {body}"
            );
        }
    }
    let mark = "\u{feff}";
    post(&world, HOOKS, format!("{mark}{}", webhook("a", "https://a.example/"))).await.expect(201);
    post(&world, EVENTS, format!("{mark}{}", event(None))).await.expect(202);
    let two = post(&world, EVENTS, format!("{mark}[{},{}]", event(None), event(None))).await.expect(202);
    assert_eq!(two.as_array().map(Vec::len), Some(2));
    let alone = post(&world, HOOKS, mark).await.refusal(400);
    assert_eq!(alone, "the request has no body, and JSON is needed");
    let two_marks = post(&world, HOOKS, format!("{mark}{mark}{{}}")).await.refusal(400);
    assert!(two_marks.starts_with("body: "), "{two_marks}");
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
        // A body without a Content-Length.
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
async fn encodings_other_than_gzip_are_refused() {
    let world = World::start().await;
    for path in [HOOKS, EVENTS, "/v1/orgs"] {
        for encoding in ["br", "deflate", "zstd", "gzip, gzip"] {
            let refused = post_encoded(&world, path, encoding, "application/json", b"[]").await;
            assert_eq!(refused.header("accept-encoding"), Some("gzip"), "{path} {encoding}");
            assert_eq!(
                refused.refusal(415),
                "this Content-Encoding is not accepted: send the body as it is, or encoded once as gzip",
                "{path} {encoding}"
            );
        }
    }
    let plain = post_encoded(&world, EVENTS, "identity", "application/json", b"[]").await;
    assert_eq!(plain.expect(202), json!([]));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("a vector takes everything")
}

async fn post_encoded(
    world: &World,
    path: &str,
    encoding: &str,
    media_type: &str,
    body: &[u8],
) -> TestResponse {
    let request = axum::http::Request::post(path)
        .header("Authorization", format!("token {ADMIN}"))
        .header("Content-Encoding", encoding)
        .header("Content-Type", media_type);
    world.send(request.body(Body::from(body.to_vec())).expect("a request")).await
}

#[tokio::test]
async fn gzip_is_taken_by_every_route() {
    let world = World::start().await;
    for (method, path) in routes_with_bodies() {
        let ask = |encoding: &'static str, body: Vec<u8>| {
            let request = request(ADMIN, &method, &path).header("Content-Encoding", encoding);
            world.send(request.body(body.into()).expect("a request"))
        };
        // No route accepts this body. The refusal shows that it was read.
        let body = br#"{"nosuch":1,"nosuch":2}"#;
        let (plain, encoded) = (ask("identity", body.to_vec()).await, ask("gzip", gzip(body)).await);
        assert_eq!((encoded.status, encoded.text()), (plain.status, plain.text()), "{method} {path}");
    }
    let created = gzip(webhook("a", "https://a.example/").to_string().as_bytes());
    post_encoded(&world, HOOKS, "gzip", "application/json", &created).await.expect(201);
    let published = gzip(event(None).to_string().as_bytes());
    post_encoded(&world, EVENTS, "gzip", "application/json", &published).await.expect(202);
}

#[tokio::test]
async fn gzip_has_limits_and_has_to_be_gzip() {
    let world = World::start().await;
    let bomb = gzip(&vec![b' '; 100 * 1024 * 1024]);
    for path in [HOOKS, EVENTS, "/v1/orgs"] {
        let refusal = post_encoded(&world, path, "gzip", "application/json", b"{}").await.refusal(400);
        assert_eq!(
            refusal, "the Content-Encoding is gzip, but the body is not a whole gzip stream",
            "{path}"
        );
        let refusal = post_encoded(&world, path, "gzip", "application/json", &bomb).await.refusal(413);
        assert_eq!(
            refusal, "a body may have at most 4194304 bytes (the setting request_bytes_max)",
            "{path}"
        );
    }
}

#[tokio::test]
async fn lines_may_be_gzip() {
    let world = World::start().await;
    let lines = format!("{}\n{}\n", event(None), event(None));
    let answer = post_encoded(&world, EVENTS, "gzip", "application/x-ndjson", &gzip(lines.as_bytes())).await;
    assert_eq!(answer.expect(202)["accepted"], 2);
    let whole = gzip(lines.as_bytes());
    let cut = post_encoded(&world, EVENTS, "gzip", "application/x-ndjson", &whole[..whole.len() - 1]).await;
    let refusal = cut.refusal(400);
    let expected =
        "the Content-Encoding is gzip, but the body is not a whole gzip stream; before that, 2 lines";
    assert!(refusal.starts_with(expected), "{refusal}");
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
async fn the_accept_header_does_not_matter() {
    let world = World::start().await;
    for accepted in ["application/vnd.pulumi+9", "text/html", "nonsense", "*/*"] {
        let request = axum::http::Request::get(HOOKS)
            .header("Authorization", format!("token {ADMIN}"))
            .header("Accept", accepted);
        let answer = world.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.expect(200), Value::Array(Vec::new()), "{accepted}");
    }
}
