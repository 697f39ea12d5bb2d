//! Self-hosted webhooks for Pulumi: the server and its command line.
//!
//! - [`commands`]: one file a verb
//! - [`config`]: settings, from everywhere, parsed once
//! - [`storage`]: the data folder and the store
//! - [`server`]: how a server is put together, and how it stops
//! - [`client`]: the public API, for the verbs that use it
//! - [`echo`]: texts of others and values of people, made fit to be printed

mod bootstrap;
mod client;
mod commands;
mod config;
mod data_folder;
mod descriptors;
mod disk;
mod echo;
mod entropy;
mod keyring;
mod lifecycle;
mod lingering;
mod listener;
mod output;
mod places;
mod process_metrics;
mod receiver;
mod server;
mod server_metrics;
mod storage;
mod telemetry;
mod tls;
mod wiring;
mod write_limit;

use std::process::ExitCode;

use anyhow::Context as _;
use mimalloc::MiMalloc;

/// With the system's own, a delivery costs a sixth more CPU time. Built to take no huge pages: with them an idle server is
/// half as large again.
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
