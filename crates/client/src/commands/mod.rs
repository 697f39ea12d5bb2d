//! The commands of the client, one file each.

mod attempt;
mod audit;
mod delivery;
mod event;
mod listen;
mod org;
mod scope;
mod secret;
mod sending;
mod since;
mod token;
mod user;
mod webhook;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use stackbell_system::Environment;

/// The commands that use only the public API.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Organizations and their members
    Org(org::OrgArgs),
    /// Users
    User(user::UserArgs),
    /// Access tokens
    Token(token::TokenArgs),
    /// Webhooks: their events, endpoints and options
    Webhook(Box<webhook::WebhookArgs>),
    /// Deliveries: list, cancel, retry and resend them
    Delivery(delivery::DeliveryArgs),
    /// Events: publish and list them
    Event(event::EventArgs),
    /// Receive deliveries on this machine, check their signatures and print them
    Listen(listen::ListenArgs),
    /// The audit log
    Audit(audit::AuditArgs),
    /// Hold and resume all deliveries of the instance
    Sending(sending::SendingArgs),
}

impl ClientCommand {
    /// Runs the command, and prints its result to `out`. `listen` prints deliveries to standard output.
    ///
    /// # Errors
    /// If the command failed; [`exit_code`](crate::exit_code) has the exit code then.
    pub fn run(&self, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self {
            Self::Org(args) => org::run(args, environment, out),
            Self::User(args) => user::run(args, environment, out),
            Self::Token(args) => token::run(args, environment, out),
            Self::Webhook(args) => webhook::run(args, environment, out),
            Self::Delivery(args) => delivery::run(args, environment, out),
            Self::Event(args) => event::run(args, environment, out),
            Self::Listen(args) => listen::run(args, environment),
            Self::Audit(args) => audit::run(args, environment, out),
            Self::Sending(args) => sending::run(args, environment, out),
        }
    }
}
