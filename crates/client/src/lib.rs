//! The client of the public API: the commands that need a server and nothing of the server's own code.
//!
//! - [`ClientCommand`]: the commands, one file each
//! - [`Client`]: requests to the API
//! - [`Verb`], [`Output`], [`Progress`]: the parts that all commands share: arguments, tables and JSON, progress
//! - [`Receiver`]: a receiver that checks signatures and prints deliveries, for `listen` and `dev`
//! - [`exit_code`]: the exit code of an error
//!
//! The crate depends only on the wire format and the operating system. A binary with only this crate would be a complete client.

mod api;
mod commands;
mod exit_code;
mod output;
mod progress;
mod receiver;
mod verb;

pub use api::{
    Client, ClientError, ClientSettings, DEFAULT_SERVER, Listed, Payload, SettingsError, parse_server,
};
pub use commands::ClientCommand;
pub use exit_code::{EXIT_CODES, FAILURE, MISSING, Missing, Misuse, USAGE, exit_code};
pub use output::{Column, Output, seconds};
pub use progress::Progress;
pub use receiver::{Behaviour, Receiver, Style};
pub use verb::{ClientArgs, Verb, counted, number_at, text_at};
