use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stackbell_testkit::{Client, Server, ServerSetup};
use tokio::process::Command;

pub(crate) fn setup() -> ServerSetup {
    ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))
}

pub(crate) async fn server() -> Server {
    setup().start().await
}

/// The size of a test: the value of the variable, or this default.
#[expect(clippy::disallowed_methods, reason = "these tests have one setting each, and no configuration")]
pub(crate) fn count(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The output of a successful command that calls this server with the admin's token.
pub(crate) async fn run(server: &Server, words: &[&str]) -> String {
    let mut command = binary(words);
    printed(command.env("STACKBELL_URL", server.url()).env("STACKBELL_TOKEN", server.token())).await
}

/// The output of a successful command that needs no server.
pub(crate) async fn run_alone(words: &[&str]) -> String {
    printed(&mut binary(words)).await
}

fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    command.args(words).env_clear().kill_on_drop(true);
    command
}

async fn printed(command: &mut Command) -> String {
    let output = command.output().await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, error) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    out
}

/// The body of a new webhook of the organization.
pub(crate) fn webhook(name: &str, url: &str) -> Value {
    json!({"organizationName": "acme", "name": name, "displayName": name, "payloadUrl": url, "active": true})
}

/// The body of a new webhook with a secret.
pub(crate) fn signed_webhook(name: &str, url: &str, secret: &str) -> Value {
    let mut body = webhook(name, url);
    body["secret"] = secret.into();
    body
}

pub(crate) async fn register(client: &Client, body: &Value) {
    client.post("/api/orgs/acme/hooks", body).await.expect(201);
}

/// An event of a successful update.
pub(crate) fn update() -> Value {
    json!({"kind": "stack_update", "payload": {
        "projectName": "web", "stackName": "prod",
        "updateUrl": "https://app.example.com/acme/web/prod/updates/42",
        "kind": "update", "result": "succeeded",
        "resourceChanges": {"create": 3, "same": 28}, "isPreview": false,
    }})
}

pub(crate) async fn publish(client: &Client, event: &Value) -> Value {
    client.post("/v1/orgs/acme/events", event).await.expect(202).json()
}

/// Computes the signature like a receiver. Source: wire-facts.md#signature.
pub(crate) fn hmac_hex(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// JSON without white space between its parts, otherwise unchanged.
pub(crate) fn compact(text: &str) -> String {
    let (mut is_in_string, mut is_escaped) = (false, false);
    let keep = |character: &char| {
        match *character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_in_string => is_escaped = true,
            '"' => is_in_string = !is_in_string,
            _ => {}
        }
        is_in_string || !character.is_ascii_whitespace()
    };
    text.chars().filter(keep).collect()
}
