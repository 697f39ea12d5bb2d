//! An example that verifies the headers of Standard Webhooks, which is its default.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use stackbell_testkit::raw;

use crate::process::{Example, Running};
use crate::requests::{SECRET, Sender, answered, headers, send, sign, update, updated};

/// The lowest age that is too old, plus a second for the duration of the test.
const TOO_OLD_SECONDS: i64 = 5 * 60 + 1;
const TOO_EARLY_SECONDS: i64 = 10 * 60;

pub(crate) async fn check(example: &Example) {
    let mut receiver = example.start(SECRET, "").await;
    let sender = Sender::start(&receiver.url).await;
    prints_what_is_delivered(&sender, &mut receiver).await;
    refuses_another_secret(&sender, &mut receiver).await;
    answers_doubles_and_drops_them(&sender, &mut receiver).await;
    refuses_what_was_changed(&sender, &mut receiver).await;
    refuses_another_time(&mut receiver).await;
    refuses_what_is_too_long(&mut receiver).await;
    takes_the_old_secret_after_a_rotation(&sender, &mut receiver).await;
    forgets_the_oldest_ids(&mut receiver).await;
    takes_a_key_in_base64(example).await;
}

/// Checks that nothing was printed since the last event: the next event is the next line.
async fn assert_silent(receiver: &mut Running, name: &str) {
    let body = update(name)["payload"].to_string();
    let signed = sign(SECRET.as_bytes(), name, now(), body.as_bytes());
    let answer = send(receiver, &signed, body.as_bytes()).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(receiver.event().await, updated(name));
}

#[expect(clippy::disallowed_methods, reason = "the examples go by the system's clock")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not so far in the future")
}

async fn prints_what_is_delivered(sender: &Sender, receiver: &mut Running) {
    for (event, expected) in [
        (update("prod"), updated("prod")),
        (
            json!({"kind": "stack", "payload": {"projectName": "web", "stackName": "new", "action": "created"}}),
            json!({"kind": "stack", "name": "web/new", "result": "created"}),
        ),
        (
            json!({"kind": "deployment", "payload": {"projectName": "web", "stackName": "prod", "operation": "update",
                "deploymentUrl": "https://app.example.com/1", "version": 7, "status": "running"}}),
            json!({"kind": "deployment", "name": "web/prod", "result": "running"}),
        ),
        (
            json!({"kind": "environment", "payload": {"projectName": "web", "environmentName": "dev",
                "action": "deleted"}}),
            json!({"kind": "environment", "name": "web/dev", "result": "deleted"}),
        ),
    ] {
        let id = sender.publish(&event).await;
        assert_eq!(receiver.event().await, expected);
        assert_eq!(sender.attempt("example", &id).await, (204, String::new()), "{event}");
    }
    let ping = sender.client.post_empty("/api/orgs/acme/hooks/example/ping").await.expect(200).json();
    assert_eq!(answered(&ping), (204, String::new()));
    assert_eq!(receiver.event().await, json!({"kind": "ping", "name": null, "result": null}));
}

async fn refuses_another_secret(sender: &Sender, receiver: &mut Running) {
    sender.register("wrong", &receiver.url, "another secret").await;
    let ping = sender.client.post_empty("/api/orgs/acme/hooks/wrong/ping").await.expect(200).json();
    let (status, text) = answered(&ping);
    assert_eq!(status, 401, "{text}");
    assert!(text.contains("signature"), "{text}");
    sender.client.delete("/api/orgs/acme/hooks/wrong").await.expect(204);
    assert_silent(receiver, "after-another-secret").await;
}

async fn answers_doubles_and_drops_them(sender: &Sender, receiver: &mut Running) {
    let request = sender.record(&update("double")).await;
    assert_eq!(receiver.event().await, updated("double"));
    sender.attempt("example", request.id()).await;
    let path = format!("/api/orgs/acme/hooks/example/deliveries/{}/redeliver", request.id());
    let again = sender.client.post_empty(&path).await.expect(200).json();
    assert_eq!(answered(&again), (204, String::new()));
    // An eavesdropper could resend such a request.
    let replay = send(receiver, &headers(&request, |_| {}), &request.body).await;
    assert_eq!(replay.status, 204);
    assert_silent(receiver, "after-doubles").await;
}

async fn refuses_what_was_changed(sender: &Sender, receiver: &mut Running) {
    let request = sender.record(&update("changed")).await;
    assert_eq!(receiver.event().await, updated("changed"));
    let tampered = request.text().replace("succeeded", "failed");
    assert_ne!(tampered, request.text());
    let set = |name: &'static str, value: &'static str| {
        headers(&request, move |headers| {
            let header = headers.iter_mut().find(|(known, _)| known == name).expect("a header");
            value.clone_into(&mut header.1);
        })
    };
    let without = |begin: &str| {
        headers(&request, |headers| headers.retain(|(name, _)| !name.to_lowercase().starts_with(begin)))
    };
    let body = request.text();
    for (what, headers, body) in [
        ("the body", headers(&request, |_| {}), &*tampered),
        ("unsigned", Vec::new(), body),
        // Pulumi's signature stays right without a time, so a request without the time must be rejected.
        ("no time and id", without("webhook-"), body),
        ("no signature", without("webhook-signature"), body),
        ("another id", set("webhook-id", "3e1b0c38-8f3c-4e5e-9a51-0d8a6f1f7c11"), body),
        ("another time", set("webhook-timestamp", "1778653205"), body),
        ("a time that is none", set("webhook-timestamp", "now"), body),
        ("another signature", set("webhook-signature", "v1,AAAA"), body),
        ("an empty signature", set("webhook-signature", ""), body),
    ] {
        let answer = send(receiver, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(answer.text().len() > 10, "{what}: {}", answer.text());
    }
    assert_silent(receiver, "after-changes").await;
}

/// The signatures are right; only the time is wrong.
async fn refuses_another_time(receiver: &mut Running) {
    let body = update("time")["payload"].to_string();
    for (at, id) in [(now() - TOO_OLD_SECONDS, "too-old"), (now() + TOO_EARLY_SECONDS, "too-early")] {
        let signed = sign(SECRET.as_bytes(), id, at, body.as_bytes());
        let answer = send(receiver, &signed, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{id}: {}", answer.text());
        assert!(answer.text().contains("old") || answer.text().contains("future"), "{}", answer.text());
        // The rejected id was not remembered as a duplicate.
        assert_silent(receiver, id).await;
    }
    let broken = sign(SECRET.as_bytes(), "broken", now(), b"{");
    assert_eq!(send(receiver, &broken, b"{").await.status, 400);
}

async fn refuses_what_is_too_long(receiver: &mut Running) {
    let body = vec![b' '; 1024 * 1024 + 1];
    let address = receiver.url.trim_start_matches("http://").trim_end_matches('/');
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend(body);
    let answer = raw(address.parse().expect("an address"), &request).await;
    assert_eq!(answer.split(' ').nth(1), Some("413"), "{answer}");
    assert_silent(receiver, "after-too-long").await;
}

async fn takes_the_old_secret_after_a_rotation(sender: &Sender, receiver: &mut Running) {
    let rotated = json!({"secret": "the next secret"});
    for webhook in ["example", "recorder"] {
        sender.client.patch(&format!("/api/orgs/acme/hooks/{webhook}"), &rotated).await.expect(200);
    }
    let request = sender.record(&update("rotated")).await;
    assert_eq!(receiver.event().await, updated("rotated"));
    assert_eq!(sender.attempt("example", request.id()).await.0, 204);
    let signatures = request.header("webhook-signature").expect("signed");
    assert_eq!(signatures.split(' ').count(), 2, "{signatures}");
}

/// The memory for ids is bounded, and drops the oldest id first.
async fn forgets_the_oldest_ids(receiver: &mut Running) {
    const IDS_MAX: usize = 10_000;
    let name = |index: usize| format!("bound-{index}");
    for index in 0..=IDS_MAX {
        assert_silent(receiver, &name(index)).await;
    }
    // The second id is still known, and the first one is new again.
    let body: Value = update(&name(1))["payload"].clone();
    let body = body.to_string();
    let known = sign(SECRET.as_bytes(), &name(1), now(), body.as_bytes());
    assert_eq!(send(receiver, &known, body.as_bytes()).await.status, 204);
    assert_silent(receiver, &name(0)).await;
}

/// The key has the base64 form of the Standard Webhooks libraries.
async fn takes_a_key_in_base64(example: &Example) {
    let mut receiver = example.start("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "standard").await;
    let sender = Sender::start(&receiver.url).await;
    let secret = json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    sender.client.patch("/api/orgs/acme/hooks/example", &secret).await.expect(200);
    let id = sender.publish(&update("base64")).await;
    assert_eq!(receiver.event().await, updated("base64"));
    assert_eq!(sender.attempt("example", &id).await.0, 204);
}
