//! `stackbell token`: access tokens of users and organizations.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stackbell_model::Clock as _;
use stackbell_model::permission::Role;
use stackbell_system::{Environment, SystemClock, parse_duration};
use ureq::http::Method;

use crate::api::Payload;
use crate::output::Column;
use crate::verb::{ClientArgs, Verb, object, text_at};

const TOKENS: &[Column] = &[
    Column::id("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("ROLE", "/role"),
    Column::text("OPERATOR", "/operator"),
    Column::time("CREATED", "/createdAt"),
    Column::time("EXPIRES", "/expiresAt"),
    Column::time("LAST USED", "/lastUsedAt"),
];

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a token and print it once
    New {
        /// A name for it
        #[arg(long)]
        name: String,
        /// The role that limits it: admin, member, publisher or viewer
        #[arg(long, value_parser = role, default_value = "member")]
        role: String,
        /// Let it act as operator of the instance, if its user may
        #[arg(long, conflicts_with = "org")]
        operator: bool,
        /// Its lifetime, such as 90d. The default is that of your own token, and with --user at most 90d
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<Duration>,
        /// Create a service token of this organization instead of a token of your own
        #[arg(long)]
        org: Option<String>,
        /// Create a token of this user; for operators
        #[arg(long, value_name = "LOGIN", conflicts_with = "org")]
        user: Option<String>,
    },
    /// List tokens
    List {
        /// List the service tokens of this organization instead of your own
        #[arg(long)]
        org: Option<String>,
        /// List the tokens of this user; for operators
        #[arg(long, value_name = "LOGIN", conflicts_with = "org")]
        user: Option<String>,
    },
    /// Revoke a token for good
    Revoke {
        /// The token's id, as listed
        id: String,
        /// The organization whose service token it is
        #[arg(long)]
        org: Option<String>,
        /// The user whose token it is; for operators
        #[arg(long, value_name = "LOGIN", conflicts_with = "org")]
        user: Option<String>,
    },
}

pub(crate) fn run(
    args: &TokenArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        TokenCommand::New { name, role, operator, expires_in, org, user } => {
            let expires_at = expires_in.map(moment_after).transpose()?;
            let body = object([
                ("name", Some(json!(name))),
                ("role", Some(json!(role))),
                ("operator", operator.then(|| json!(true))),
                ("expiresAt", expires_at.map(Value::from)),
            ]);
            let path = path(org.as_deref(), user.as_deref());
            let made = verb.client.call(Method::POST, &path, Payload::Json(&body))?;
            verb.output.one(verb.out, &made, text_at(&made, "/token"))?;
        }
        TokenCommand::List { org, user } => {
            verb.output.list(verb.out, &verb.client.list(&path(org.as_deref(), user.as_deref()))?, TOKENS)?;
        }
        TokenCommand::Revoke { id, org, user } => {
            let path = [path(org.as_deref(), user.as_deref()), vec![id.as_str()]].concat();
            verb.client.call(Method::DELETE, &path, Payload::Empty)?;
            verb.output.one(verb.out, &Value::Null, &format!("Revoked the token {id}."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Parses a role.
pub(crate) fn role(text: &str) -> Result<String, String> {
    match Role::parse(text) {
        Some(role) => Ok(role.as_str().to_owned()),
        None => Err(format!(
            "must be {}",
            Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

fn path<'a>(organization: Option<&'a str>, user: Option<&'a str>) -> Vec<&'a str> {
    match (organization, user) {
        (Some(organization), _) => vec!["v1", "orgs", organization, "tokens"],
        (None, Some(login)) => vec!["v1", "users", login, "tokens"],
        (None, None) => vec!["v1", "user", "tokens"],
    }
}

/// The time after `duration` from now, as RFC 3339.
pub(crate) fn moment_after(duration: Duration) -> anyhow::Result<String> {
    let at = SystemClock.now().after(duration);
    let at =
        jiff::Timestamp::from_millisecond(at.as_millis()).context("the token would outlast the calendar")?;
    Ok(at.to_string())
}
