//! `stackbell sending`: holds and resumes all deliveries of the instance.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stackbell_system::{Environment, printable};
use ureq::http::Method;

use crate::api::Payload;
use crate::output::seconds;
use crate::verb::{ClientArgs, Verb, text_at};

const PATH: [&str; 2] = ["v1", "instance"];

#[derive(Debug, Args)]
pub struct SendingArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: SendingCommand,
}

#[derive(Debug, Subcommand)]
enum SendingCommand {
    /// Show whether deliveries are sent
    Status,
    /// Hold all sending until it is resumed; events are still accepted, and pings and redeliveries are sent
    Hold {
        /// The reason, for other operators
        #[arg(long)]
        reason: String,
    },
    /// Resume sending, for example after a restore
    Resume,
}

pub(crate) fn run(
    args: &SendingArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        SendingCommand::Status => {}
        SendingCommand::Hold { reason } => {
            let path = [&PATH[..], &["sending", "hold"]].concat();
            verb.client.call(Method::POST, &path, Payload::Json(&json!({ "reason": reason })))?;
        }
        SendingCommand::Resume => {
            let path = [&PATH[..], &["sending", "resume"]].concat();
            verb.client.call(Method::POST, &path, Payload::Empty)?;
        }
    }
    // The state is read again, because others may have changed it too.
    let instance = verb.client.call(Method::GET, &PATH, Payload::Empty)?;
    verb.output.one(verb.out, &instance, &sentence(&instance))?;
    Ok(ExitCode::SUCCESS)
}

fn sentence(instance: &Value) -> String {
    if instance.pointer("/sending/held") != Some(&Value::Bool(true)) {
        return "Deliveries go out.".to_owned();
    }
    format!(
        "Deliveries are held since {}: {}",
        seconds(text_at(instance, "/sending/since")),
        printable(text_at(instance, "/sending/reason"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_printed() {
        assert_eq!(sentence(&json!({"sending": {"held": false}})), "Deliveries go out.");
        let held =
            json!({"sending": {"held": true, "since": "2026-05-13T06:19:04.070Z", "reason": "a\u{7}b"}});
        assert_eq!(sentence(&held), "Deliveries are held since 2026-05-13T06:19:04Z: a\\u{7}b");
    }
}
