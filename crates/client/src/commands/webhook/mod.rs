//! `stackbell webhook`: webhooks and their options.

mod edit;
mod new;
mod show;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use stackbell_system::Environment;
use ureq::http::Method;

use super::attempt;
use super::scope::{ScopeArgs, place};
use crate::api::Payload;
use crate::output::Column;
use crate::verb::{ClientArgs, LimitArgs, Verb, confirm, text_at};

pub(crate) use show::backing_off;

const WEBHOOKS: &[Column] = &[
    Column::id("NAME", "/name"),
    Column::text("DISPLAY NAME", "/displayName"),
    Column::text("SCOPE", "/scope"),
    Column::made("WHERE", place),
    Column::text("FORMAT", "/format"),
    Column::made("STATE", state),
    Column::id("ID", "/id"),
];

/// The accepted values of the filter flags of `list`.
const SCOPES: [&str; 3] = ["organization", "stack", "environment"];
const STATES: [&str; 3] = ["active", "inactive", "suspended"];
const FORMATS: [&str; 4] = ["raw", "slack", "ms_teams", "pulumi_deployments"];

#[derive(Debug, Args)]
pub struct WebhookArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// List the webhooks of all scopes, oldest first
    #[command(after_help = "Example:\n  stackbell webhook list acme --state suspended")]
    List(ListArgs),
    /// Show a webhook: its events, endpoint and health
    Get(OneArgs),
    /// Create a webhook
    #[command(after_help = "Examples:
  stackbell webhook new acme --url https://example.com/hook --generate-secret
  stackbell webhook new acme --stack website/prod --filter update_failed \\
    --url https://example.com/hook --secret-file secret.txt
  stackbell webhook new acme --format slack --group deployments \\
    --url https://hooks.slack.com/services/…

Without --filter and --group it hears of everything in its scope.")]
    New(new::NewArgs),
    /// Change only the named fields of a webhook
    #[command(after_help = "Examples:
  stackbell webhook edit acme ci --add-filter update_failed --remove-group policies
  stackbell webhook edit acme ci --pause 'the endpoint moves'
  stackbell webhook edit acme ci --resume
  stackbell webhook edit acme ci --pace 60 --standard-headers off")]
    Edit(Box<edit::EditArgs>),
    /// Delete a webhook; its pending deliveries are cancelled
    Remove {
        #[command(flatten)]
        one: OneArgs,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
    /// Send a ping now and show the endpoint's response; fails unless it is a 2xx
    Ping(OneArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The organization
    org: String,
    #[command(flatten)]
    within: ScopeArgs,
    /// Only those of this scope
    #[arg(long, value_parser = SCOPES)]
    scope: Option<String>,
    /// Only those in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only those that are switched on, or off
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// Only those of this format
    #[arg(long, value_parser = FORMATS)]
    format: Option<String>,
    /// Only those with this text in their name or display name
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// One webhook.
#[derive(Debug, Args)]
struct OneArgs {
    /// The organization
    org: String,
    /// The webhook's name
    name: String,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(crate) fn run(
    args: &WebhookArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        WebhookCommand::List(args) => list(args, &mut verb)?,
        WebhookCommand::Get(one) => show::run(one, &mut verb)?,
        WebhookCommand::New(args) => new::run(args, environment, &mut verb)?,
        WebhookCommand::Edit(args) => edit::run(args, environment, &mut verb)?,
        WebhookCommand::Remove { one, yes } => remove(one, *yes, &mut verb)?,
        WebhookCommand::Ping(one) => return ping(one, &mut verb),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let active = args.active.map(|active| active.to_string());
    let mut query = Vec::new();
    let mut add = |name: &'static str, value: Option<&str>| {
        query.extend(value.map(|value| (name, value.to_owned())));
    };
    // The flags of a stack or environment imply its scope; another scope would find nothing.
    let named = match (&args.within.stack, &args.within.env) {
        (Some(_), _) => Some("stack"),
        (None, Some(_)) => Some("environment"),
        (None, None) => None,
    };
    add("scope", args.scope.as_deref().or(named));
    let within = args.within.stack.as_ref().or(args.within.env.as_ref());
    add("project", within.map(|within| within.project.as_str()));
    add("stack", args.within.stack.as_ref().map(|stack| stack.name.as_str()));
    add("environment", args.within.env.as_ref().map(|environment| environment.name.as_str()));
    add("state", args.state.as_deref());
    add("active", active.as_deref());
    add("format", args.format.as_deref());
    add("text", args.text.as_deref());
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    verb.history(&["v1", "orgs", &args.org, "webhooks"], &query, args.limit, WEBHOOKS)
}

fn remove(one: &OneArgs, is_agreed: bool, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let path = one.scope.hook(&one.org, &one.name);
    // The server reports success for a missing webhook, but a person has probably mistyped its name.
    verb.client.call(Method::GET, &path, Payload::Empty)?;
    let place = one.scope.place(&one.org);
    confirm(
        &format!("Remove the webhook {} of {place}, and cancel what is pending for it?", one.name),
        is_agreed,
    )?;
    verb.client.call(Method::DELETE, &path, Payload::Empty)?;
    verb.output.one(verb.out, &Value::Null, &format!("Removed the webhook {}.", one.name))?;
    Ok(())
}

fn ping(one: &OneArgs, verb: &mut Verb<'_>) -> anyhow::Result<ExitCode> {
    let path = [one.scope.hook(&one.org, &one.name), vec!["ping"]].concat();
    let answer = verb.client.call(Method::POST, &path, Payload::Empty)?;
    attempt::print(verb, &answer, "The ping")
}

/// Whether its circuit breaker is open.
fn is_backing_off(webhook: &Value) -> bool {
    text_at(webhook, "/breaker/state") == "open"
}

/// The state of a webhook; with its reason if it is not active, or a note if its breaker is open.
fn state(webhook: &Value) -> String {
    let state = text_at(webhook, "/state");
    let backing_off = if state == "active" && is_backing_off(webhook) { "backing off" } else { "" };
    let reason = [text_at(webhook, "/pauseReason"), text_at(webhook, "/suspension/reason"), backing_off];
    match reason.into_iter().find(|reason| !reason.is_empty()) {
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn states_are_words() {
        let check = |webhook: Value, expected: &str| assert_eq!(state(&webhook), expected);
        check(json!({"state": "active"}), "active");
        check(json!({"state": "active", "breaker": {"state": "closed"}}), "active");
        check(json!({"state": "active", "breaker": {"state": "open"}}), "active: backing off");
        check(json!({"state": "inactive", "pauseReason": "it moves"}), "inactive: it moves");
        check(json!({"state": "inactive", "breaker": {"state": "open"}}), "inactive");
        let suspended =
            json!({"state": "suspended", "suspension": {"reason": "gone"}, "breaker": {"state": "open"}});
        check(suspended, "suspended: gone");
    }
}
