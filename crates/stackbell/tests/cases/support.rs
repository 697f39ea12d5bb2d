//! Common parts of the clients: a server and an endpoint, the headers of each client, bodies as Go writes them, and the checks
//! for the responses of all clients.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use stackbell_testkit::{Answer, Client, Receiver, Server, ServerSetup};

pub(crate) const ORGANIZATION: &str = "/api/orgs/acme/hooks";
pub(crate) const STACK: &str = "/api/stacks/acme/web/prod/hooks";
pub(crate) const ENVIRONMENT: &str = "/api/esc/environments/acme/web/dev/hooks";
/// A URL without a listener: no process uses port 1.
pub(crate) const DEAD: &str = "http://127.0.0.1:1/";

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// A server and an endpoint.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) receiver: Receiver,
}

/// One client program. Its headers are sent with every request.
pub(crate) struct Caller {
    client: Client,
    headers: Headers,
    // Some clients send a content type without a body.
    always_json: bool,
}

/// A key of a Go struct, and the JSON of its zero value if that is written (no `omitempty`).
pub(crate) type GoField = (&'static str, Option<&'static str>);

impl World {
    pub(crate) async fn start() -> Self {
        let (server, receiver) =
            tokio::join!(ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).start(), Receiver::start());
        Self { server, receiver }
    }

    pub(crate) fn caller(&self, headers: Headers, always_json: bool) -> Caller {
        Caller { client: self.server.client(), headers, always_json }
    }

    /// Publishes an update of the stack `web/prod` and waits until the endpoint has received it.
    pub(crate) async fn deliver_update(&self) {
        let before = self.receiver.count();
        let event = json!({"kind": "stack_update", "payload": {
            "projectName": "web", "stackName": "prod", "kind": "update", "result": "succeeded",
            "resourceChanges": {"create": 3}, "isPreview": false}});
        self.server.client().post("/v1/orgs/acme/events", &event).await.expect(202);
        self.receiver.wait_for(before + 1).await;
    }

    /// Checks that the newest request was signed with `secret`, or that it is unsigned if `secret` is `None`.
    #[track_caller]
    pub(crate) fn assert_signed_with(&self, secret: Option<&str>) {
        let requests = self.receiver.requests();
        let request = requests.last().expect("a request came");
        let expected = secret.map(|secret| hmac_hex(secret, &request.body));
        assert_eq!(request.header("Pulumi-Webhook-Signature"), expected.as_deref());
    }
}

impl Caller {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> Answer {
        self.send(Method::PATCH, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, "").await
    }

    /// Creates a webhook, checks that it has everything that clients need, and returns it.
    pub(crate) async fn create(&self, prefix: &str, body: &str) -> Value {
        webhook(self.post(prefix, body).await.expect(201).json())
    }

    /// Reads a webhook back.
    pub(crate) async fn fetch(&self, prefix: &str, name: &str) -> Value {
        webhook(self.get(&format!("{prefix}/{name}")).await.expect(200).json())
    }

    /// Edits a webhook and returns it. The response and a following read must be equal.
    pub(crate) async fn edit(&self, prefix: &str, name: &str, body: &str) -> Value {
        let edited = webhook(self.patch(&format!("{prefix}/{name}"), body).await.expect(200).json());
        assert_eq!(self.fetch(prefix, name).await, edited);
        edited
    }

    /// Deletes a webhook twice: the second delete must succeed too.
    pub(crate) async fn remove(&self, prefix: &str, name: &str) {
        let path = format!("{prefix}/{name}");
        for _ in 0..2 {
            assert_eq!(self.delete(&path).await.expect(204).text(), "");
        }
        error(&self.get(&path).await, 404);
    }

    /// Pings a webhook and returns the delivery. The response is 200 whatever the endpoint's response was.
    pub(crate) async fn ping(&self, prefix: &str, name: &str) -> Value {
        let pinged = delivery(self.post(&format!("{prefix}/{name}/ping"), "").await.expect(200).json());
        assert_eq!(pinged["kind"], "ping");
        pinged
    }

    /// The deliveries of a webhook, newest first.
    pub(crate) async fn deliveries(&self, prefix: &str, name: &str) -> Vec<Value> {
        let listed = self.get(&format!("{prefix}/{name}/deliveries")).await.expect(200).json();
        let listed = listed.as_array().expect("a bare array").clone();
        let listed: Vec<Value> = listed.into_iter().map(delivery).collect();
        let times: Vec<_> = listed.iter().map(|delivery| delivery["timestamp"].as_i64()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        listed
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let mut headers = self.headers.to_vec();
        if self.always_json || !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let answer =
            self.client.send_exactly(method, path, &headers, Bytes::copy_from_slice(body.as_bytes()));
        unpacked(answer.await)
    }
}

/// Decompresses a body with a content encoding, as Go's transport and the CLI do; any other body stays unchanged.
fn unpacked(mut answer: Answer) -> Answer {
    if answer.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut body = Vec::new();
        GzDecoder::new(&*answer.body).read_to_end(&mut body).expect("gzip, as its header says");
        answer.body = body.into();
    }
    answer
}

/// A Go struct in JSON: the keys in their order. An empty field without `omitempty` gets its zero value. Other empty fields are
/// left out, as are keys that the struct does not have.
pub(crate) fn go_struct(fields: &[GoField], value: &Value) -> String {
    let is_empty =
        |value: &Value| matches!(value.as_str(), Some("")) || *value == json!([]) || value.is_null();
    let written = fields.iter().filter_map(|(key, zero)| {
        let given = value.get(key).filter(|value| !is_empty(value)).map(ToString::to_string);
        Some(format!("{}:{}", json!(key), given.or(zero.map(str::to_owned))?))
    });
    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
}

/// `base`, with the fields of `change` in place of its own.
pub(crate) fn with(base: &Value, change: &Value) -> Value {
    let mut merged: Map<String, Value> = base.as_object().expect("an object").clone();
    merged.extend(change.as_object().expect("an object").clone());
    merged.into()
}

/// The text of a field.
#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is text: {value}"))
}

/// Checks that every client can read this webhook: no null, no `secret`, all required fields, sorted groups.
/// Source: wire-facts.md#webhook-object.
#[track_caller]
pub(crate) fn webhook(value: Value) -> Value {
    let fields = value.as_object().expect("an object");
    assert!(!fields.contains_key("secret"), "it would take the place of the user's: {value}");
    assert!(fields.values().all(|field| !field.is_null()), "{value}");
    for field in ["organizationName", "name", "displayName", "payloadUrl", "format"] {
        assert!(!text(&value, field).is_empty(), "{field}: {value}");
    }
    let ciphertext = text(&value, "secretCiphertext");
    let expected_length = if value["hasSecret"].as_bool().expect("a truth value") { 64 } else { 0 };
    assert_eq!(ciphertext.len(), expected_length, "{value}");
    assert!(ciphertext.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{value}");
    assert!(value["active"].is_boolean() && value["filters"].is_array(), "{value}");
    let groups: Vec<_> = value["groups"].as_array().expect("an array").iter().map(Value::as_str).collect();
    assert!(groups.is_sorted(), "{value}");
    value
}

/// Checks that every client can read this delivery: ten fields, no null, integers that fit Go's types, valid header lines.
/// Source: wire-facts.md#webhook-delivery.
#[track_caller]
pub(crate) fn delivery(value: Value) -> Value {
    assert_eq!(value.as_object().expect("an object").len(), 10, "{value}");
    for field in ["id", "kind", "payload", "requestUrl", "requestHeaders", "responseHeaders", "responseBody"]
    {
        text(&value, field);
    }
    assert!(value["duration"].as_i64().is_some_and(|duration| duration < 15_000), "milliseconds: {value}");
    assert!(value["responseCode"].as_i64().is_some(), "{value}");
    let seconds = value["timestamp"].as_i64().expect("an integer");
    assert!((1_500_000_000..100_000_000_000).contains(&seconds), "seconds: {value}");
    for line in text(&value, "requestHeaders").split_terminator('\n') {
        assert!(line.ends_with('\r') && line.contains(": "), "{line:?}");
    }
    value
}

/// Checks that every client can show this error, and returns its message.
#[track_caller]
pub(crate) fn error(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["code"], status);
    let message = text(&body, "message");
    assert!(!message.is_empty());
    message.to_owned()
}

fn hmac_hex(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
