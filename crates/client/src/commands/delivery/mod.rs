//! `stackbell delivery`: sent and pending deliveries, and new attempts.

mod recover;
mod show;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use stackbell_model::delivery::StateKind;
use stackbell_system::Environment;
use ureq::http::Method;

use super::attempt;
use super::scope::{ScopeArgs, subject, webhook_id};
use super::since::{Since, parse_since};
use crate::api::Payload;
use crate::output::{Column, Output, text};
use crate::verb::{ClientArgs, LimitArgs, Verb, text_at};

const DELIVERIES: &[Column] = &[
    Column::id("ID", "/id"),
    Column::time("CREATED", "/createdAt"),
    Column::text("KIND", "/kind"),
    Column::made("SUBJECT", subject),
    Column::text("WEBHOOK", "/webhook/name"),
    Column::made("STATE", state),
    Column::text("ATTEMPTS", "/attempts"),
    Column::made("LAST ANSWER", last_answer),
];

#[derive(Debug, Args)]
pub struct DeliveryArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: DeliveryCommand,
}

#[derive(Debug, Subcommand)]
enum DeliveryCommand {
    /// List deliveries, newest first
    #[command(after_help = "Examples:
  stackbell delivery list acme --state failed --since 1d
  stackbell delivery list acme --webhook ci --stack website/prod --output json --all")]
    List(ListArgs),
    /// Show a delivery: its payload, and the result of each attempt
    Show(OneArgs),
    /// Send it once more now and show the response; the schedule continues unless the attempt succeeds
    Redeliver(OneArgs),
    /// Cancel a pending delivery
    Cancel(OneArgs),
    /// Send a delivery now, before all others of its webhook; one that has ended starts again
    Retry(OneArgs),
    /// Retry all failed and cancelled deliveries of a webhook, and send its pending ones now
    #[command(after_help = "Example:
  stackbell delivery recover acme --webhook ci --since 2h --wait")]
    Recover(recover::RecoverArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The organization
    org: String,
    /// Only those of this webhook, by name or id
    #[arg(long, value_name = "WEBHOOK")]
    webhook: Option<String>,
    #[command(flatten)]
    about: ScopeArgs,
    /// Only those of events of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only those in this state: pending, succeeded, failed or cancelled
    #[arg(long, value_parser = state_word)]
    state: Option<String>,
    /// Only those created since: 2h, 3d or 2026-05-13T06:19:04Z
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Since>,
    /// Only those created before
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    until: Option<Since>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// One delivery.
#[derive(Debug, Args)]
struct OneArgs {
    /// The organization
    org: String,
    /// The delivery's id, as listed
    id: String,
}

fn state_word(text: &str) -> Result<String, &'static str> {
    let known = StateKind::parse(text).map(|state| state.as_str().to_owned());
    known.ok_or("must be pending, succeeded, failed or cancelled")
}

pub(crate) fn run(
    args: &DeliveryArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        DeliveryCommand::List(args) => list(args, &mut verb)?,
        DeliveryCommand::Show(one) => show::run(one, &mut verb)?,
        DeliveryCommand::Redeliver(one) => {
            let answer = change(one, "redeliver", &verb)?;
            return attempt::print(&mut verb, &answer, "The delivery");
        }
        DeliveryCommand::Cancel(one) => {
            let cancelled = change(one, "cancel", &verb)?;
            verb.output.one(verb.out, &cancelled, &format!("Cancelled the delivery {}.", one.id))?;
        }
        DeliveryCommand::Retry(one) => {
            let retried = change(one, "retry", &verb)?;
            let sentence = match verb.output {
                Output::Json => String::new(),
                Output::Table => retried_now(&one.id, &look(one, &verb)),
            };
            verb.output.one(verb.out, &retried, &sentence)?;
        }
        DeliveryCommand::Recover(args) => return recover::run(args, &mut verb),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let webhook = args.webhook.as_ref().map(|webhook| webhook_id(verb, &args.org, webhook)).transpose()?;
    let since = args.since.map(Since::rfc3339).transpose()?;
    let until = args.until.map(Since::rfc3339).transpose()?;
    let within = args.about.stack.as_ref().or(args.about.env.as_ref());
    let asked = [
        ("webhook", webhook.as_deref()),
        ("project", within.map(|within| within.project.as_str())),
        ("stack", args.about.stack.as_ref().map(|stack| stack.name.as_str())),
        ("environment", args.about.env.as_ref().map(|environment| environment.name.as_str())),
        ("kind", args.kind.as_deref()),
        ("state", args.state.as_deref()),
        ("from", since.as_deref()),
        ("to", until.as_deref()),
    ];
    let query: Vec<_> = asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    verb.history(&["v1", "orgs", &args.org, "deliveries"], &query, args.limit, DELIVERIES)
}

fn change(one: &OneArgs, what: &str, verb: &Verb<'_>) -> anyhow::Result<Value> {
    let path = ["v1", "orgs", &one.org, "deliveries", &one.id, what];
    Ok(verb.client.call(Method::POST, &path, Payload::Empty)?)
}

/// The delivery as it is now. The retry has succeeded already, so a failed lookup does not fail the command.
fn look(one: &OneArgs, verb: &Verb<'_>) -> Value {
    let path = ["v1", "orgs", &one.org, "deliveries", &one.id];
    verb.client.call(Method::GET, &path, Payload::Empty).unwrap_or_default()
}

/// The sentence after a retry: whether the delivery is sent now, or still held.
fn retried_now(id: &str, delivery: &Value) -> String {
    match text_at(delivery, "/waiting/reason") {
        "suspended" | "inactive" | "sending_held" | "pace" => {
            format!("The delivery {id} goes first, but not yet: {}.", show::waits(&delivery["waiting"]))
        }
        _ => format!("The delivery {id} is tried now."),
    }
}

/// The state, with its reason if it needs one.
fn state(delivery: &Value) -> String {
    let reasons = [text_at(delivery, "/failReason"), text_at(delivery, "/cancelReason")];
    let state = text_at(delivery, "/state");
    match reasons.into_iter().find(|reason| !reason.is_empty()) {
        Some(reason) => format!("{state}: {}", reason.replace('_', " ")),
        None => state.to_owned(),
    }
}

/// The status of the last attempt, or the reason why it has none.
fn last_answer(delivery: &Value) -> String {
    match delivery.pointer("/lastAttempt/responseCode").and_then(Value::as_u64) {
        None => "-".to_owned(),
        Some(0) => text(delivery.pointer("/lastAttempt/error")),
        Some(status) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_retry_says_what_keeps_it() {
        let check = |delivery: Value, expected: &str| assert_eq!(retried_now("d", &delivery), expected);
        check(json!({}), "The delivery d is tried now.");
        check(json!({"waiting": {"reason": "breaker"}}), "The delivery d is tried now.");
        check(
            json!({"waiting": {"reason": "inactive"}}),
            "The delivery d goes first, but not yet: its webhook is inactive.",
        );
    }

    /// The server did not return the delivery's state.
    #[test]
    fn a_retry_is_done_whatever_is_known_of_it() {
        assert_eq!(retried_now("d", &Value::Null), "The delivery d is tried now.");
    }

    #[test]
    fn cells_say_what_matters() {
        let check = |delivery: Value, expected: [&str; 3]| {
            assert_eq!([subject(&delivery), state(&delivery), last_answer(&delivery)], expected);
        };
        check(json!({"state": "pending"}), ["-", "pending", "-"]);
        let failed = json!({
            "projectName": "p", "stackName": "s", "state": "failed", "failReason": "attempts_exhausted",
            "lastAttempt": {"responseCode": 500},
        });
        check(failed, ["p/s", "failed: attempts exhausted", "500"]);
        let cancelled = json!({
            "projectName": "p", "environmentName": "e", "state": "cancelled", "cancelReason": "asked",
            "lastAttempt": {"responseCode": 0, "error": "no such host"},
        });
        check(cancelled, ["p/e", "cancelled: asked", "no such host"]);
    }
}
