//! A server, and commands of the binary.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use stackbell_testkit::{Receiver, Server, ServerSetup};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ran {
    /// Checks the exit code and returns standard output.
    #[track_caller]
    pub(crate) fn text(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.error);
        &self.out
    }

    /// Checks the exit code and returns the JSON on standard output.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        serde_json::from_str(self.text(code)).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Checks the exit code, and that standard error contains `expected`.
    #[track_caller]
    pub(crate) fn said(&self, code: i32, expected: &str) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.error);
        assert!(self.error.contains(expected), "{:?} is not in {:?}", expected, self.error);
    }
}

/// A server, an endpoint, and a working folder.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) receiver: Receiver,
    folder: TempDir,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        Self::open_with(ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))).await
    }

    /// A desk with an embedded store, for commands on its file or key.
    pub(crate) async fn open_embedded() -> Self {
        Self::open_with(ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).embedded()).await
    }

    async fn open_with(setup: ServerSetup) -> Self {
        let setup = setup.organization("acme");
        let (server, receiver) = tokio::join!(setup.start(), Receiver::start());
        Self { server, receiver, folder: tempfile::tempdir().expect("a folder") }
    }

    /// The working folder of commands.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a command from this line, with only the server's variables.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
        command.args(words(line)).env_clear().current_dir(self.folder.path());
        command.env("STACKBELL_URL", self.server.url()).env("STACKBELL_TOKEN", self.server.token());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a line. Spaces separate words, except inside single quotes.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        ended(self.command(line)).await
    }

    /// Runs a line with this standard input.
    pub(crate) async fn run_with(&self, line: &str, input: &str) -> Ran {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).await.expect("read");
        drop(stdin);
        ran(child.wait_with_output().await.expect("it ends"))
    }

    /// Creates a webhook for every event that goes to the endpoint.
    pub(crate) async fn webhook(&self, name: &str) {
        let url = self.receiver.url("/hook");
        self.run(&format!("webhook new acme --name {name} --url {url}")).await.text(0);
    }

    /// Publishes an update of `website/prod` and returns the event's id.
    pub(crate) async fn publish(&self) -> String {
        let sent = self.run_with("event send acme --kind stack_update --output json", UPDATE).await.json(0);
        sent["id"].as_str().expect("an id").to_owned()
    }
}

/// Runs a command to its end.
pub(crate) async fn ended(mut command: Command) -> Ran {
    ran(command.output().await.expect("it runs"))
}

fn ran(output: std::process::Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code().expect("it exits"),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A failed update.
pub(crate) const UPDATE: &str = r#"{"projectName":"website","stackName":"prod","kind":"update","result":"failed","resourceChanges":{"same":31},"isPreview":false}"#;
