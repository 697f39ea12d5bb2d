//! The dashboard and the alert rules in `packaging/`, against the metrics that a server shows.
//!
//! A name that is misspelt in a query is no error anywhere: the panel stays empty and the alert silent. So every
//! expression is parsed and compared with the series that a server shows from its start, and what a server shows must be
//! on the dashboard.

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

/// What Prometheus stores of a server that has just started and was asked for nothing yet.
async fn catalogue() -> Catalogue {
    let server = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).start().await;
    let metrics = server.client().get("/metrics").await.expect(200);
    Catalogue::scraped(metrics.text())
}

/// What stands between two marks.
fn quoted(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// Who is woken copies the commands that a text names: the verbs and the flags are those of the binary.
fn assert_is_command(words: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    let output = command.args(words.split(' ')).arg("--help").output().expect("the binary runs");
    let (help, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let verbs = words.split(' ').take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
    let usage = format!("Usage: stackbell {}", verbs.collect::<Vec<_>>().join(" "));
    assert!(output.status.success() && help.contains(&usage), "stackbell {words}: {help}{error}");
}
