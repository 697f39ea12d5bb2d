//! A server with webhooks for an example, and requests that our server would never send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stackbell_testkit::wait::until;
use stackbell_testkit::{Answer, Client, Receiver, Request, Server, ServerSetup};

use crate::process::Running;

pub(crate) const SECRET: &str = "a secret: ü";

/// A server that delivers to an example, and sends the same signed requests to a receiver that records them.
pub(crate) struct Sender {
    pub(crate) client: Client,
    recorder: Receiver,
    _server: Server,
}

impl Sender {
    pub(crate) async fn start(url: &str) -> Self {
        let setup = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"));
        let (server, recorder) = tokio::join!(setup.start(), Receiver::start());
        let sender = Self { client: server.client(), recorder, _server: server };
        sender.register("example", url, SECRET).await;
        sender.register("recorder", &sender.recorder.url("/"), SECRET).await;
        sender
    }

    pub(crate) async fn register(&self, name: &str, url: &str, secret: &str) {
        let body = json!({"organizationName": "acme", "name": name, "displayName": name, "payloadUrl": url,
            "active": true, "secret": secret});
        self.client.post("/api/orgs/acme/hooks", &body).await.expect(201);
    }

    /// Publishes an event and returns its id.
    pub(crate) async fn publish(&self, event: &Value) -> String {
        let answer = self.client.post("/v1/orgs/acme/events", event).await.expect(202).json();
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Publishes an event and returns the recorded request.
    pub(crate) async fn record(&self, event: &Value) -> Request {
        let id = self.publish(event).await;
        let is_there = |requests: &[Request]| requests.iter().any(|request| request.id() == id);
        let requests = self.recorder.wait_until("the recorded request", is_there).await;
        requests.into_iter().find(|request| request.id() == id).expect("waited for")
    }

    /// The newest attempt of an event for a webhook: the status and text of its response.
    pub(crate) async fn attempt(&self, webhook: &str, id: &str) -> (i64, String) {
        let path = format!("/api/orgs/acme/hooks/{webhook}/deliveries");
        let attempt = until("the attempt", || async {
            let attempts = self.client.get(&path).await.expect(200).json();
            attempts.as_array().expect("an array").iter().find(|attempt| attempt["id"] == id).cloned()
        })
        .await;
        answered(&attempt)
    }
}

/// The status and text of an attempt's response.
pub(crate) fn answered(attempt: &Value) -> (i64, String) {
    let text = attempt["responseBody"].as_str().expect("a body").to_owned();
    (attempt["responseCode"].as_i64().expect("a status"), text)
}

/// A successful update of a stack with this name.
pub(crate) fn update(stack: &str) -> Value {
    json!({"kind": "stack_update", "payload": {
        "projectName": "web", "stackName": stack, "kind": "update", "result": "succeeded",
        "resourceChanges": {"create": 3}, "isPreview": false, "message": "two\nlines 🍹",
    }})
}

/// The example's output for [`update`].
pub(crate) fn updated(stack: &str) -> Value {
    json!({"kind": "stack_update", "name": format!("web/{stack}"), "result": "succeeded"})
}

/// The headers of a recorded request for content, kind and signatures, with a change.
pub(crate) fn headers(
    request: &Request,
    change: impl Fn(&mut Vec<(String, String)>),
) -> Vec<(String, String)> {
    let mut headers = request.headers.clone();
    headers.retain(|(name, _)| name.to_lowercase().contains("webhook-"));
    assert_eq!(headers.len(), 6, "{headers:?}");
    change(&mut headers);
    headers
}

/// Sends a request to an example.
pub(crate) async fn send(receiver: &Running, headers: &[(String, String)], body: &[u8]) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    receiver.client.send(http::Method::POST, "/", &headers, Bytes::copy_from_slice(body)).await
}

/// The headers of Standard Webhooks for a body, by their specification. Source: wire-facts.md#standard-webhooks.
pub(crate) fn sign(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> Vec<(String, String)> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    [
        ("Pulumi-Webhook-Kind", "stack_update".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
