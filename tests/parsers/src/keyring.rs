//! What the settings need of the program beside their own module.

#[path = "../../../crates/stackbell/src/keyring/command.rs"]
#[expect(dead_code, reason = "commands are read here, and not run")]
mod command;

pub(crate) use command::{KeyCommand, KeyCommandError};
