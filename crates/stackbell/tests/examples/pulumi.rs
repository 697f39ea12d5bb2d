//! An example that verifies only Pulumi's own signature, as for webhooks of the hosted service.

use serde_json::json;

use crate::process::Example;
use crate::requests::{SECRET, Sender, answered, headers, send, update, updated};

/// A body from the hosted service and its signature with the secret `test`. Source: wire-facts.md#signature.
const HOSTED: (&str, &str) = (
    r#"{"timestamp":1778653144,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#,
    "d56b77df4dd68e623988b326d5e3c13d62906ba54d45f497aebb8347f24dec13",
);

pub(crate) async fn check(example: &Example) {
    let mut receiver = example.start(SECRET, "pulumi").await;
    let sender = Sender::start(&receiver.url).await;
    let request = sender.record(&update("pulumi")).await;
    assert_eq!(receiver.event().await, updated("pulumi"));
    assert_eq!(sender.attempt("example", request.id()).await.0, 204);

    let without = |end: &str| {
        headers(&request, |headers| headers.retain(|(name, _)| !name.to_lowercase().ends_with(end)))
    };
    let wrong = headers(&request, |headers| {
        for (_, value) in headers.iter_mut().filter(|(name, _)| name == "Pulumi-Webhook-Signature") {
            *value = HOSTED.1.to_owned();
        }
    });
    let tampered = request.text().replace("succeeded", "failed");
    for (what, headers, body) in [
        ("the body", without("-timestamp"), &*tampered),
        // The three headers of Standard Webhooks are right, but are not used here.
        ("no signature", headers_but_pulumis(&request), request.text()),
        ("another signature", wrong, request.text()),
    ] {
        let answer = send(&receiver, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    }
    // The headers of Standard Webhooks are not needed, but the id is a duplicate.
    let double = send(&receiver, &without("-timestamp"), &request.body).await;
    assert_eq!(double.status, 204, "{}", double.text());

    // There is only one signature, so deliveries fail after a rotation until the receiver has the new secret.
    let rotated = json!({"secret": "the next secret"});
    sender.client.patch("/api/orgs/acme/hooks/example", &rotated).await.expect(200);
    let ping = sender.client.post_empty("/api/orgs/acme/hooks/example/ping").await.expect(200).json();
    assert_eq!(answered(&ping).0, 401);
    takes_what_the_hosted_service_signed(example).await;
}

fn headers_but_pulumis(request: &stackbell_testkit::Request) -> Vec<(String, String)> {
    headers(request, |headers| headers.retain(|(name, _)| name != "Pulumi-Webhook-Signature"))
}

async fn takes_what_the_hosted_service_signed(example: &Example) {
    let mut receiver = example.start("test", "pulumi").await;
    let headers = [
        ("Pulumi-Webhook-Id", "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a"),
        ("Pulumi-Webhook-Kind", "ping"),
        ("Pulumi-Webhook-Signature", HOSTED.1),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(send(&receiver, &headers, HOSTED.0.as_bytes()).await.status, 204);
    assert_eq!(receiver.event().await, json!({"kind": "ping", "name": null, "result": null}));
}
