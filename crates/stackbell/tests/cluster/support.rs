//! Nodes on one database, and commands of the binary.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use stackbell_testkit::{Client, Database, Postgres, Server, ServerSetup};
use tokio::process::Command;

/// The master key of nodes in the testkit.
pub(crate) const NODES_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Another master key.
pub(crate) const OTHER_KEY: &str = "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

pub(crate) fn setup() -> ServerSetup {
    ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))
}

/// A migrated database for nodes.
pub(crate) struct Cluster {
    pub(crate) database: Database,
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        Self { database: setup().database().await }
    }

    /// The setup of one more node.
    pub(crate) fn setup(&self) -> ServerSetup {
        setup().store(&self.database.url())
    }

    /// Starts one more node.
    pub(crate) async fn node(&self) -> Server {
        self.setup().start().await
    }

    /// Starts two nodes at the same time.
    pub(crate) async fn two_nodes(&self) -> (Server, Server) {
        tokio::join!(self.node(), self.node())
    }
}

/// An empty database.
pub(crate) async fn empty_database() -> Database {
    Postgres::shared().await.database().await
}

/// The result of a run of the binary.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Standard output, then standard error.
    pub(crate) said: String,
}

impl Ran {
    /// Checks the exit code and returns the output.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}", self.said);
        &self.said
    }
}

/// The binary with these arguments, and the store at this URL. No other variable of ours is set.
pub(crate) fn command(words: &[&str], store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    command.env_clear().args(words).env("STACKBELL_STORE", store);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn ended(mut command: Command) -> Ran {
    let output = command.output().await.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code().expect("it exits"), said: String::from_utf8(said).expect("text") }
}

/// Runs `serve` on this data folder with the settings of a node; the start must fail.
pub(crate) async fn refused(setup: &ServerSetup, data: &Path) -> Ran {
    ended(setup.command(data)).await
}

/// The body of a new webhook of the organization.
pub(crate) fn webhook(name: &str, url: &str) -> Value {
    json!({"organizationName": "acme", "name": name, "displayName": name, "payloadUrl": url, "active": true})
}

pub(crate) async fn register(client: &Client, body: &Value) {
    client.post("/api/orgs/acme/hooks", body).await.expect(201);
}

/// An event of a successful update.
pub(crate) fn update() -> Value {
    json!({"kind": "stack_update", "payload": {
        "projectName": "web", "stackName": "prod", "kind": "update", "result": "succeeded",
        "resourceChanges": {"create": 3, "same": 28}, "isPreview": false,
    }})
}

pub(crate) async fn publish(client: &Client, event: &Value) -> Value {
    client.post("/v1/orgs/acme/events", event).await.expect(202).json()
}

/// Stops a node, and checks that it exits successfully and that its log has no error.
pub(crate) async fn stop(server: Server) {
    server.assert_quiet();
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}

/// The ids of events whose delivery is recorded as succeeded.
pub(crate) fn succeeded(database: &Database) -> BTreeSet<Box<str>> {
    let ids = database.psql(
        "SELECT e.id FROM deliveries d JOIN events e ON e.key = d.event_key WHERE d.state = 'succeeded'",
    );
    ids.lines().map(Box::from).collect()
}
