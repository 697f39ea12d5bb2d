//! Self-hosted webhooks for Pulumi: the server and its command line.
//!
//! - [`commands`]: one file a verb
//! - [`config`]: settings, from everywhere, parsed once
//! - [`server`]: how a server is put together, and how it stops
//! - [`client`]: the public API, for the verbs that use it

mod bootstrap;
mod client;
mod commands;
mod config;
mod data_folder;
mod entropy;
mod keyring;
mod lifecycle;
mod listener;
mod output;
mod server;
mod telemetry;
mod write_limit;

use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run() {
        Ok(code) => code,
        Err(error) => commands::fail(&error),
    }
}
