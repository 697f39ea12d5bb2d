//! Features that existing receivers rely on, R1 to R6.
//! Source: wire-facts.md#outgoing-request, wire-facts.md#signature, wire-facts.md#raw-payloads.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stackbell_testkit::{Receiver, Request, Server};

use crate::support::{hmac_hex, publish, register, server, signed_webhook, update, webhook};

const SECRET: &str = "shh, a secret: ü";

async fn start() -> (Server, Receiver) {
    let (server, receiver) = tokio::join!(server(), Receiver::start());
    register(&server.client(), &signed_webhook("signed", &receiver.url("/signed"), SECRET)).await;
    (server, receiver)
}

/// Publishes an event and returns the request that delivers it.
async fn deliver(server: &Server, receiver: &Receiver, event: &Value) -> Request {
    let before = receiver.count();
    publish(&server.client(), event).await;
    receiver.wait_for(before + 1).await.remove(before)
}

fn environment(kind: &str, further: &Value) -> Value {
    let mut payload = json!({"projectName": "web", "environmentName": "prod"});
    let further = further.as_object().expect("an object").clone();
    payload.as_object_mut().expect("an object").extend(further);
    json!({"kind": kind, "payload": payload})
}

#[tokio::test]
async fn r1_headers_are_found_in_any_case_and_no_secret_is_no_signature() {
    let (server, receiver) = start().await;
    let request = deliver(&server, &receiver, &update()).await;
    for name in ["pulumi-webhook-id", "PULUMI-WEBHOOK-KIND", "Pulumi-Webhook-Signature"] {
        assert!(request.header(name).is_some(), "{name}");
    }
    server.client().delete("/api/orgs/acme/hooks/signed").await.expect(204);
    register(&server.client(), &webhook("plain", &receiver.url("/plain"))).await;
    let request = deliver(&server, &receiver, &update()).await;
    assert_eq!(request.path, "/plain");
    let signed = request.headers.iter().find(|(name, _)| name.to_lowercase().contains("signature"));
    assert_eq!(signed, None);
}

#[tokio::test]
async fn r2_the_signature_is_64_lowercase_hex_digits_over_the_raw_body() {
    let (server, receiver) = start().await;
    let request = deliver(&server, &receiver, &update()).await;
    let signature = request.header("Pulumi-Webhook-Signature").expect("signed");
    assert_eq!(signature.len(), 64);
    assert!(
        signature.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "{signature}"
    );
    assert_eq!(signature, hmac_hex(SECRET, &request.body));
}

/// Such receivers parse the body with Python's `json` and write it again.
#[tokio::test]
async fn r3_the_body_survives_being_parsed_and_written_again() {
    let (server, receiver) = start().await;
    let text = r#"{"kind":"stack_update","payload":{ "stackName" : "prod","projectName":"web", "kind":"update",
        "result":"succeeded","isPreview":false,"resourceChanges":{"same":28,"create":3e1},
        "message":"\u00fc <b>&amp;\uD83C\uDF79\u003c/b> \/ \u2028 \"q\" \\","empty":{},"list":[1,2.5,null,true] } }"#;
    let answer = server.client().send(http::Method::POST, "/v1/orgs/acme/events", &[], text.into()).await;
    answer.expect(202);
    let request = receiver.wait_for(1).await.remove(0);
    let script = "import json,sys;sys.stdout.write(json.dumps(json.load(sys.stdin),separators=(',',':'),ensure_ascii=False))";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there: ./test looks for it");
    python.stdin.take().expect("piped").write_all(&request.body).expect("written");
    let written = python.wait_with_output().expect("ended").stdout;
    assert_eq!(String::from_utf8_lossy(&written), request.text());
    assert_eq!(request.header("Pulumi-Webhook-Signature"), Some(&*hmac_hex(SECRET, &written)));
}

#[tokio::test]
async fn r4_kinds_and_fields_of_stacks_and_pings() {
    let (server, receiver) = start().await;
    let mut preview = update();
    preview["kind"] = "stack_preview".into();
    preview["payload"]["isPreview"] = true.into();
    let created =
        json!({"kind": "stack", "payload": {"action": "created", "projectName": "web", "stackName": "prod"}});
    for event in [update(), preview, created.clone()] {
        let request = deliver(&server, &receiver, &event).await;
        let body = request.json();
        assert_eq!(request.header("pulumi-webhook-kind"), event["kind"].as_str());
        for field in ["name", "githubLogin"] {
            assert!(body["organization"][field].is_string(), "{body}");
            assert!(body["user"][field].is_string(), "{body}");
        }
        assert_eq!(body["organization"]["githubLogin"], "acme");
        assert_eq!((&body["projectName"], &body["stackName"]), (&json!("web"), &json!("prod")));
        if event == created {
            assert_eq!(body["action"], "created");
            continue;
        }
        assert_eq!((&body["kind"], &body["result"]), (&json!("update"), &json!("succeeded")));
        assert!(body["updateUrl"].is_string() && body["resourceChanges"].is_object(), "{body}");
    }
    server.client().post_empty("/api/orgs/acme/hooks/signed/ping").await.expect(200);
    let ping = receiver.wait_for(4).await.remove(3);
    assert_eq!(ping.header("pulumi-webhook-kind"), Some("ping"));
    assert!(ping.json()["message"].is_string());
}

#[tokio::test]
async fn r5_a_deployment_has_stack_operation_and_status() {
    let (server, receiver) = start().await;
    let event = json!({"kind": "deployment", "payload": {
        "projectName": "web", "stackName": "prod", "deploymentUrl": "https://app.example.com/1",
        "version": 7, "operation": "update", "status": "running",
    }});
    let body = deliver(&server, &receiver, &event).await.json();
    let found = [&body["stackName"], &body["operation"], &body["status"]];
    assert_eq!(found, ["prod", "update", "running"]);
}

#[tokio::test]
async fn r6_an_environment_event_has_action_project_and_environment() {
    let (server, receiver) = start().await;
    for event in [
        environment("environment", &json!({"action": "created"})),
        environment("environment_revision", &json!({"action": "created", "revision": 3})),
        environment("environment_tag", &json!({"tagName": "stable", "action": "created"})),
    ] {
        let body = deliver(&server, &receiver, &event).await.json();
        let found = [&body["action"], &body["projectName"], &body["environmentName"]];
        assert_eq!(found, ["created", "web", "prod"]);
    }
}
