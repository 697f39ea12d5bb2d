//! `stackbell user`: users.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stackbell_system::{Environment, parse_duration};
use ureq::http::Method;

use super::token::{moment_after, role};
use crate::api::Payload;
use crate::output::{Column, seconds};
use crate::verb::{ClientArgs, Verb, object, text_at};

const USERS: &[Column] = &[
    Column::id("LOGIN", "/login"),
    Column::text("NAME", "/name"),
    Column::text("EMAIL", "/email"),
    Column::text("OPERATOR", "/operator"),
    Column::time("CREATED", "/createdAt"),
];

#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user; prints the first token, which is shown only once
    New {
        /// The login
        login: String,
        /// The name
        #[arg(long)]
        name: Option<String>,
        /// The e-mail address
        #[arg(long)]
        email: Option<String>,
        /// Make the user an operator of the instance
        #[arg(long)]
        operator: bool,
        /// The role of the first token: admin, member, publisher or viewer; viewer if absent
        #[arg(long, value_parser = role)]
        role: Option<String>,
        /// The lifetime of the first token, such as 7d; 90d if absent
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List users
    List,
}

pub(crate) fn run(
    args: &UserArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        UserCommand::New { login, name, email, operator, role, expires_in } => {
            let expires_at = expires_in.map(moment_after).transpose()?;
            let body = object([
                ("login", Some(json!(login))),
                ("name", name.as_ref().map(|name| json!(name))),
                ("email", email.as_ref().map(|email| json!(email))),
                ("operator", operator.then(|| json!(true))),
                ("role", role.as_ref().map(|role| json!(role))),
                ("expiresAt", expires_at.map(Value::from)),
            ]);
            let made = verb.client.call(Method::POST, &["v1", "users"], Payload::Json(&body))?;
            let token = text_at(&made, "/token");
            let (role, expiry) = (text_at(&made, "/tokenRole"), text_at(&made, "/tokenExpiresAt"));
            let sentence = format!(
                "Added the user {login}. Their first token, shown this once, has the role {role} and expires at {}:\n{token}",
                seconds(expiry)
            );
            verb.output.one(verb.out, &made, &sentence)?;
        }
        UserCommand::List => verb.output.list(verb.out, &verb.client.list(&["v1", "users"])?, USERS)?,
    }
    Ok(ExitCode::SUCCESS)
}
