//! Publishing NDJSON.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::{ADMIN, TestResponse, World, event, request};

const EVENTS: &str = "/v1/orgs/crazy-adventures/events";
const ID: &str = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";

async fn post(world: &World, path: &str, body: impl Into<Body>) -> TestResponse {
    let mut request = request(ADMIN, "POST", path).body(body.into()).expect("a request");
    request
        .headers_mut()
        .insert("content-type", "application/x-ndjson; charset=utf-8".parse().expect("a value"));
    world.send(request).await
}

/// Seven lines: new, blank, duplicate, in conflict, too long, not an event, not UTF-8.
fn mixed() -> Vec<u8> {
    let mut conflict = event(Some(ID));
    conflict["payload"]["stackName"] = json!("other");
    let mut body = format!("{}\n\r\n{}\n{conflict}\n", event(Some(ID)), event(Some(ID))).into_bytes();
    body.extend(vec![b'x'; 400_000]);
    body.extend_from_slice(b"\n{\"kind\":\"stack\"}\n\xFF\n");
    body.extend(event(None).to_string().into_bytes());
    body
}

#[tokio::test]
async fn lines_are_counted_and_refusals_listed() {
    let world = World::start().await;
    let summary = post(&world, EVENTS, mixed()).await.expect(202);
    let refusals = json!([
        {"line": 4, "code": 409, "message": "the id belongs to an event with other content"},
        {"line": 5, "code": 413, "message": "a line may have at most 307200 bytes (the setting payload_bytes_max and some room)"},
        {"line": 6, "code": 400, "message": "payload is required"},
        {"line": 7, "code": 400, "message": "the text is not UTF-8 from byte 0 on"},
    ]);
    assert_eq!(summary, json!({"accepted": 2, "duplicates": 1, "refused": 4, "refusals": refusals}));
    let nothing = post(&world, &format!("{EVENTS}?results=summary"), "").await.expect(202);
    assert_eq!(nothing, json!({"accepted": 0, "duplicates": 0, "refused": 0, "refusals": []}));
}

#[tokio::test]
async fn byte_order_marks_before_lines_are_ignored() {
    let world = World::start().await;
    let mark = "\u{feff}";
    let body = format!("{mark}{}\n{}\r\n{mark}{}\n{mark}\n", event(None), event(None), event(None));
    let summary = post(&world, EVENTS, body.clone()).await.expect(202);
    assert_eq!(summary, json!({"accepted": 3, "duplicates": 0, "refused": 0, "refusals": []}));
    let lines = post(&world, &format!("{EVENTS}?results=lines"), body).await;
    let accepted = lines.text().lines().filter(|line| line.contains(r#""result":"accepted""#)).count();
    assert_eq!((accepted, lines.text().lines().count()), (3, 3), "{}", lines.text());
}

#[tokio::test]
async fn line_by_line() {
    let world = World::start().await;
    let answer = post(&world, &format!("{EVENTS}?results=lines"), mixed()).await;
    assert_eq!(answer.status.as_u16(), 202);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown: Vec<_> = lines.iter().map(|line| format!("{} {}", line["line"], line["result"])).collect();
    let expected = [
        "1 \"accepted\"",
        "3 \"duplicate\"",
        "4 \"refused\"",
        "5 \"refused\"",
        "6 \"refused\"",
        "7 \"refused\"",
        "8 \"accepted\"",
    ];
    assert_eq!(shown, expected);
    assert_eq!(lines[0]["id"], ID);
    assert_eq!(lines[1]["filters"], json!(["update_succeeded"]));
}

#[tokio::test]
async fn results_come_while_the_body_is_still_on_its_way() {
    let world = World::start().await;
    let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
    let body = Body::from_stream(stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|chunk| chunk.map(Ok::<_, std::io::Error>))
    }));
    let mut request =
        request(ADMIN, "POST", &format!("{EVENTS}?results=lines")).body(body).expect("a request");
    request.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
    let response = world.router.clone().oneshot(request).await.expect("it cannot fail");
    let mut results = response.into_body();
    for line in 1..=3 {
        sender.send(format!("{}\n", event(None)).into()).expect("it is read");
        let frame = results.frame().await.expect("a line").expect("a whole body");
        let result: Value = serde_json::from_slice(frame.data_ref().expect("data")).expect("JSON");
        assert_eq!(result["line"], line);
        assert_eq!(result["result"], "accepted");
    }
    drop(sender);
    assert!(results.frame().await.is_none());
}

#[tokio::test]
async fn many_lines_in_order() {
    let world = World::start().await;
    let count = 2000;
    let line = format!("{}\n", event(None));
    let chunks: Vec<_> = (0..count).map(|_| Ok::<_, std::io::Error>(line.clone())).collect();
    let answer =
        post(&world, &format!("{EVENTS}?results=lines"), Body::from_stream(stream::iter(chunks))).await;
    let numbers: Vec<u64> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["line"].as_u64().expect("a number"))
        .collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let world = World::start().await;
    let body = || {
        let chunks = [Ok(Bytes::from(format!("{}\n{{", event(None)))), Err(std::io::Error::other("gone"))];
        Body::from_stream(stream::iter(chunks))
    };
    let refusal = post(&world, EVENTS, body()).await.refusal(400);
    let expected = "the body ended early; before that, 1 lines were accepted, 0 were known, 0 were refused";
    assert_eq!(refusal, expected);
    let answer = post(&world, &format!("{EVENTS}?results=lines"), body()).await;
    let last = answer.text().lines().last().expect("a line").to_owned();
    assert_eq!(last, r#"{"result":"refused","line":2,"code":400,"message":"the body ended early"}"#);
}

#[tokio::test]
async fn parameters_that_are_wrong() {
    let world = World::start().await;
    let answer = post(&world, &format!("{EVENTS}?results=all"), "").await;
    assert_eq!(answer.refusal(400), "results must be 'summary' or 'lines'");
    assert_eq!(answer.details(), ["Event results invalid"]);
    let path = format!("{EVENTS}?results=lines");
    let answer = world.admin("POST", &path, event(None)).await;
    assert_eq!(answer.refusal(400), "results is for application/x-ndjson alone");
    assert_eq!(answer.details(), ["Event results invalid"]);
}

#[tokio::test]
async fn lines_may_be_sent_under_all_their_names() {
    let world = World::start().await;
    let lines = format!("{}\n{}\n", event(None), event(None));
    let names = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "Application/X-JSONLines; charset=utf-8",
    ];
    for name in names {
        let mut request = request(ADMIN, "POST", EVENTS).body(lines.clone().into()).expect("a request");
        request.headers_mut().insert("content-type", name.parse().expect("a value"));
        assert_eq!(world.send(request).await.expect(202)["accepted"], 2, "{name}");
    }
}

#[tokio::test]
async fn lines_under_another_media_type_get_a_hint() {
    let world = World::start().await;
    let remedy = "to send several events, use Content-Type: application/x-ndjson";
    let ask = |body: String| world.send(request(ADMIN, "POST", EVENTS).body(body.into()).expect("a request"));
    for followed in
        [format!("{}\n{}", event(None), event(None)), format!("{},", event(None)), "[]\n[]".to_owned()]
    {
        let refusal = ask(followed.clone()).await.refusal(400);
        assert!(refusal.contains(remedy), "{followed}: {refusal}");
    }
    for broken in ["{", "{\"kind\":\"a\" \"b\"}", "[1", "x"] {
        let refusal = ask(broken.to_owned()).await.refusal(400);
        assert!(!refusal.contains("ndjson"), "{broken}: {refusal}");
    }
}
