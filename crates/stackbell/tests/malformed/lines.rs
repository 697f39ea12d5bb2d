//! NDJSON with bad lines: each is rejected by itself, and the good lines around it are accepted.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use stackbell_testkit::Client;

use crate::cases::KNOWN_EVENT;

const GOOD: &str =
    r#"{"kind":"stack","payload":{"projectName":"web","stackName":"prod","action":"created"}}"#;

/// A line, and the code and a part of the message that it must get.
fn lines() -> Vec<(Vec<u8>, u16, &'static str)> {
    let taken = GOOD
        .replace(r#"{"kind""#, &format!(r#"{{"id":"{KNOWN_EVENT}","kind""#))
        .replace("created", "deleted");
    let text = |text: &str, part| (text.as_bytes().to_vec(), 400, part);
    vec![
        text("x", "an event must be an object"),
        text("{", "EOF"),
        text("[]", "an event must be an object"),
        text(&format!("[{GOOD}]"), "an event must be an object"),
        text("null", "an event must be an object"),
        text("1", "an event must be an object"),
        text(&format!("{GOOD}{GOOD}"), "trailing"),
        text(&format!("{GOOD},"), "trailing"),
        text("{}", "kind is required"),
        text(r#"{"kind":"stack"}"#, "payload is required"),
        text(r#"{"kind":"nonsense","payload":{}}"#, "kind must be one of"),
        text(r#"{"kind":"stack","payload":{}}"#, "payload."),
        text(r#"{"kind":"stack","payload":[]}"#, "payload"),
        text(
            r#"{"kind":"stack","payload":{"projectName":"web","stackName":"prod","action":1}}"#,
            "payload.action",
        ),
        text(r#"{"kind":"stack","payload":{},"id":"x"}"#, "id must be"),
        text(r#"{"kind":"stack","kind":"stack","payload":{}}"#, "duplicate field"),
        text(r#"{"kind":"stack","payload":{"a":1,"a":2}}"#, "the same key twice"),
        text(r#"{"kind":"stack","payload":{"a":"\ud800"}}"#, "surrogate"),
        text(
            &format!(r#"{{"kind":"stack","payload":{{"a":{}{}}}}}"#, "[".repeat(200), "]".repeat(200)),
            "nested",
        ),
        (b"\xff\xfe".to_vec(), 400, "not UTF-8"),
        (b"{\"kind\":\"\xc0\xaf\"}".to_vec(), 400, "not UTF-8"),
        (taken.into_bytes(), 409, "other content"),
        (vec![b'x'; 310 * 1024], 413, "at most 307200 bytes"),
    ]
}

pub(crate) async fn check(client: &Client) {
    let lines = lines();
    let mut body = Vec::new();
    for (line, _, _) in &lines {
        body.extend_from_slice(line);
        body.push(b'\n');
        body.extend_from_slice(GOOD.as_bytes());
        body.push(b'\n');
    }
    let headers = [("Content-Type", "application/x-ndjson")];
    let send = |path: &'static str| client.send(Method::POST, path, &headers, Bytes::from(body.clone()));
    let summary = send("/v1/orgs/acme/events").await.expect(202).json();
    assert_eq!(
        (&summary["accepted"], &summary["refused"]),
        (&lines.len().into(), &lines.len().into()),
        "{summary}"
    );
    let refusals = summary["refusals"].as_array().expect("an array");
    for ((index, (line, code, part)), refusal) in lines.iter().enumerate().zip(refusals) {
        check_refusal(refusal, 2 * index + 1, *code, part, line);
    }

    let answer = send("/v1/orgs/acme/events?results=lines").await.expect(202);
    let results: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(results.len(), 2 * lines.len());
    for (pair, (line, code, part)) in results.chunks(2).zip(&lines) {
        check_refusal(&pair[0], pair[1]["line"].as_u64().expect("a number") as usize - 1, *code, part, line);
        assert!(pair[1]["code"].is_null(), "{}", pair[1]);
    }
}

fn check_refusal(refusal: &Value, number: usize, code: u16, part: &str, line: &[u8]) {
    let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
    assert_eq!((&refusal["line"], &refusal["code"]), (&number.into(), &code.into()), "{shown}: {refusal}");
    let message = refusal["message"].as_str().expect("a message");
    assert!(message.contains(part), "{shown}: no '{part}' in {message}");
}
