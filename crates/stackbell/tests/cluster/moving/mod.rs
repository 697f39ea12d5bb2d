//! The move of an embedded store into PostgreSQL.

mod fill;
mod lifecycle;
mod load;

use std::path::Path;
use std::process::Stdio;

use stackbell_testkit::{Server, ServerSetup};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::setup;

/// A server on a file.
async fn embedded() -> Server {
    setup().embedded().start().await
}

/// Stops a server and keeps its folder.
async fn stopped(server: Server) -> TempDir {
    let (status, log, folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
    folder
}

/// `store copy` from a data folder, with more arguments.
fn copy(data: &Path, database: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    let from = format!("sqlite:{}", data.join("stackbell.db").display());
    command.env_clear().args(["store", "copy", "--from", &from, "--to", database]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A node with the master key from this folder.
fn node(database: &str, data: &Path) -> ServerSetup {
    let key = data.join("master.key");
    setup().store(database).flag("--master-key-file", key.to_str().expect("UTF-8"))
}
