//! Checks the dashboard and the alert rules in `packaging/` against the metrics of a server.
//!
//! A misspelt name in a query causes no error: the panel stays empty and the alert silent. Every expression is therefore
//! parsed and compared with the series of a new server, and all of these series must be on the dashboard.

mod catalogue;
mod dashboard;
mod expression;
mod page;
mod promtool;
mod rules;

use std::path::PathBuf;
use std::process::Command;

use stackbell_testkit::ServerSetup;

use crate::catalogue::Catalogue;

fn read(path: &str) -> String {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", path].iter().collect();
    std::fs::read_to_string(root).expect("the file is there")
}

/// The series of a server that has just started, and has had no requests yet.
async fn catalogue() -> Catalogue {
    let server = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).start().await;
    let metrics = server.client().get("/metrics").await.expect(200);
    Catalogue::scraped(metrics.text())
}

/// The texts between each pair of a mark.
fn quoted(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// Checks a command in a text that an operator may copy: the binary must know its verbs and flags.
fn assert_is_command(words: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    let output = command.args(words.split(' ')).arg("--help").output().expect("the binary runs");
    let (help, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let verbs = words.split(' ').take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
    let usage = format!("Usage: stackbell {}", verbs.collect::<Vec<_>>().join(" "));
    assert!(output.status.success() && help.contains(&usage), "stackbell {words}: {help}{error}");
}
