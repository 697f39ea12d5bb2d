//! Self-hosted webhooks for Pulumi: the binary.
//!
//! [`commands`] has the command line. The commands that use a server are in `stackbell-client`, the server itself is in
//! `stackbell-server`, and its settings are in `stackbell-config`.

mod commands;

use std::process::ExitCode;

use anyhow::Context as _;
use mimalloc::MiMalloc;
use stackbell_server::{lifecycle, telemetry};

/// With the system's allocator a delivery takes a sixth more CPU time. MiMalloc is built without huge pages, because with them an
/// idle server uses 50 % more memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let begun = lifecycle::survive_file_size_limit().context("cannot listen to signals");
    let code = match begun.and_then(|()| commands::run()) {
        Ok(code) => code,
        Err(error) => commands::fail(&error),
    };
    telemetry::flush();
    code
}
