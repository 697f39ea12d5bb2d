//! `stackbell key`: the master key.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use stackbell_client::{ClientArgs, Payload, Verb, counted, number_at};
use stackbell_keys::MasterKey;
use stackbell_system::{Environment, SystemEntropy};
use ureq::http::Method;

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print a new master key: 32 random bytes in base64
    #[command(after_help = "Example:\n  (umask 077; stackbell key new > master.key)")]
    New,
    /// Seal the server's data keys with a new master key; for operators
    #[command(after_help = "A key that the server made itself is replaced by a new one.
One from a file or a command is read again: change what the file or the command holds first.
One from the environment is changed at a restart, with previous_master_key.")]
    Rotate,
}

pub(crate) fn run(
    args: &KeyArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match &args.command {
        KeyCommand::New => {
            let key = MasterKey::generate(&mut SystemEntropy::seeded()?);
            writeln!(out, "{}", key.to_base64().as_str())?;
        }
        KeyCommand::Rotate => {
            let verb = Verb::new(&args.client, environment, out)?;
            let path = ["v1", "instance", "master-key", "rotate"];
            let rotated = verb.client.call(Method::POST, &path, Payload::Empty)?;
            let keys = counted(number_at(&rotated, "/dataKeys"), "data key is", "data keys are");
            let sentence = format!(
                "{keys} sealed under the new master key. Keep a copy of the new key. Keep the old key for as long as \
                 you keep backups from its time."
            );
            verb.output.one(verb.out, &rotated, &sentence)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
