use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use stackbell_model::Timestamp;

use super::super::receipt::Signatures;
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_778_653_205_123);

fn receipt(body: &'static [u8]) -> Receipt {
    let mut headers = HeaderMap::new();
    headers.insert("pulumi-webhook-id", "an-id".parse().expect("a value"));
    headers.insert("pulumi-webhook-kind", "stack_update".parse().expect("a value"));
    headers.insert("pulumi-webhook-signature", "00".parse().expect("a value"));
    let signatures = Signatures::check(None, &headers, body, NOW);
    Receipt {
        number: 3,
        at: NOW,
        method: Method::POST,
        path: "/hook".to_owned(),
        headers,
        body: Bytes::from_static(body),
        signatures,
        status: StatusCode::NO_CONTENT,
    }
}

const UPDATE: &[u8] = br#"{"organization":{"githubLogin":"acme"},"projectName":"p","stackName":"s","kind":"update","result":"failed","n":1.0}"#;

#[test]
fn people_see_all_of_it() {
    let expected = r#"#3  stack_update  acme/p/s  update failed  2026-05-13T06:20:05Z
  signature not checked (Pulumi): no secret given
  no signature (Standard Webhooks)
  answered 204

  POST /hook
  pulumi-webhook-id: an-id
  pulumi-webhook-kind: stack_update
  pulumi-webhook-signature: 00

  {
    "organization": {
      "githubLogin": "acme"
    },
    "projectName": "p",
    "stackName": "s",
    "kind": "update",
    "result": "failed",
    "n": 1.0
  }

"#;
    assert_eq!(Style::Whole { is_coloured: false }.show(&receipt(UPDATE)), expected);
    let coloured = Style::Whole { is_coloured: true }.show(&receipt(UPDATE));
    assert!(coloured.starts_with("\u{1b}[1m#3  stack_update\u{1b}[0m  acme/p/s"), "{coloured}");
}

#[test]
fn programs_see_one_object_a_line() {
    let shown = Style::Json.show(&receipt(b"{}"));
    assert_eq!(shown.lines().count(), 1);
    let object: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(object["pulumiSignature"], "unchecked");
    assert_eq!(object["standardSignature"], "missing");
    assert_eq!((&object["kind"], &object["body"]), (&json!("stack_update"), &json!("{}")));
    assert_eq!(object["receivedAt"], "2026-05-13T06:20:05.123Z");
}

#[test]
fn a_wrong_signature_is_loud() {
    let palette = Palette::new(false);
    let told = sentence("Pulumi", Verdict::Wrong("made with another secret"), &palette);
    assert_eq!(told, "SIGNATURE WRONG (Pulumi): made with another secret");
    assert_eq!(line(&receipt(b"{}")), "received  stack_update  an-id  signature verified  2 bytes\n");
}

#[test]
fn json_keeps_its_texts() {
    let check = |body: &str, expected: &str| assert_eq!(pretty(body.as_bytes()), expected, "{body}");
    check("{}", "{}");
    check("[ ]", "[]");
    check(r#"{"b":1e400,"a":[1,{}]}"#, "{\n  \"b\": 1e400,\n  \"a\": [\n    1,\n    {}\n  ]\n}");
    check(r#""a\"{,:\\""#, r#""a\"{,:\\""#);
    check("no \u{1b}[2J JSON\nat all", "no \\u{1b}[2J JSON\nat all");
    check("\"\u{9b}2J\u{202e}\"", "\"\\u009b2J\\u202e\"");
}

#[test]
fn messages_of_chats_and_pings_say_what_they_say() {
    assert_eq!(
        outcome(&json!({"text": "acme/p/s: update failed"})).as_deref(),
        Some("acme/p/s: update failed")
    );
    assert_eq!(outcome(&json!({"timestamp": 1, "message": "a ping"})).as_deref(), Some("a ping"));
    assert_eq!(outcome(&json!({"action": "created"})).as_deref(), Some("created"));
    assert_eq!(subject(&json!({"projectName": "p", "environmentName": "e"})).as_deref(), Some("p/e"));
    assert_eq!(subject(&json!([])), None);
}
