//! Runs a command beside a throw-away PostgreSQL, for tests that are not in Rust.
//!
//! The variable `STACKBELL_TEST_DATABASE` holds the URL of an empty database. The exit code is the command's.
//! `cargo run -p stackbell-testkit --example with_postgres -- COMMAND ARGUMENT…`

use std::process::ExitCode;

use stackbell_testkit::{Postgres, PostgresSettings};
use tokio::process::Command;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().expect("a command");
    // Both are dropped before the process ends.
    let server = Postgres::start(PostgresSettings::default()).await;
    let database = server.database().await;
    let mut command = Command::new(program);
    command.args(words).env("STACKBELL_TEST_DATABASE", database.url());
    let status = command.status().await.expect("the command starts");
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
