//! `stackbell event`: publishing events, and published events.

mod send;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use stackbell_system::Environment;
use ureq::http::Method;

use super::scope::subject;
use crate::api::Payload;
use crate::output::{Column, Output, seconds, text};
use crate::receiver::pretty;
use crate::verb::{ClientArgs, LimitArgs, Verb, text_at};

const EVENTS: &[Column] = &[
    Column::id("ID", "/id"),
    Column::time("ACCEPTED", "/acceptedAt"),
    Column::text("KIND", "/kind"),
    Column::made("SUBJECT", subject),
    Column::text("FILTERS", "/filters"),
    Column::text("DELIVERIES", "/deliveries"),
];

#[derive(Debug, Args)]
pub struct EventArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: EventCommand,
}

#[derive(Debug, Subcommand)]
enum EventCommand {
    /// Publish events
    #[command(after_help = "Examples:
  stackbell event send acme --kind stack_update payload.json
  stackbell event send acme events.ndjson
  make-events | stackbell event send acme --ndjson -")]
    Send(send::SendArgs),
    /// List events, newest first
    List {
        /// The organization
        org: String,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show an event and its payload
    Show {
        /// The organization
        org: String,
        /// The event's id
        id: String,
    },
}

pub(crate) fn run(
    args: &EventArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        EventCommand::Send(args) => return send::run(args, &mut verb),
        EventCommand::List { org, limit } => {
            verb.history(&["v1", "orgs", org, "events"], &[], *limit, EVENTS)?;
        }
        EventCommand::Show { org, id } => show(org, id, &mut verb)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(organization: &str, id: &str, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let path = ["v1", "orgs", organization, "events", id];
    let event = verb.client.call(Method::GET, &path, Payload::Empty)?;
    if verb.output == Output::Json {
        return Ok(verb.output.one(verb.out, &event, "")?);
    }
    let rows = [
        ("id", text(event.get("id"))),
        ("kind", text(event.get("kind"))),
        ("subject", subject(&event)),
        ("filters", text(event.get("filters"))),
        ("accepted", seconds(text_at(&event, "/acceptedAt"))),
        ("deliveries", text(event.get("deliveries"))),
    ];
    for (name, value) in rows {
        writeln!(verb.out, "{name:<10}  {value}")?;
    }
    let payload = event.get("payload").map(Value::to_string).unwrap_or_default();
    writeln!(verb.out, "\nPayload:\n\n{}", pretty(payload.as_bytes()))?;
    Ok(())
}
