//! `stackbell user`: users.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use ureq::http::Method;

use super::verb::{ClientArgs, Verb, object, text_at};
use crate::client::Payload;
use crate::config::Environment;
use crate::output::Column;

const USERS: &[Column] = &[
    Column::id("LOGIN", "/login"),
    Column::text("NAME", "/name"),
    Column::text("EMAIL", "/email"),
    Column::text("OPERATOR", "/operator"),
    Column::time("CREATED", "/createdAt"),
];

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user; prints their first token, which is shown this once
    New {
        /// What they log in as
        login: String,
        /// Their name
        #[arg(long)]
        name: Option<String>,
        /// Their address
        #[arg(long)]
        email: Option<String>,
        /// Let them run the instance
        #[arg(long)]
        operator: bool,
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
        UserCommand::New { login, name, email, operator } => {
            let body = object([
                ("login", Some(json!(login))),
                ("name", name.as_ref().map(|name| json!(name))),
                ("email", email.as_ref().map(|email| json!(email))),
                ("operator", operator.then(|| json!(true))),
            ]);
            let made = verb.client.call(Method::POST, &["v1", "users"], Payload::Json(&body))?;
            let token = text_at(&made, "/token");
            let sentence = format!("Added the user {login}. Their first token, shown this once:\n{token}");
            verb.output.one(verb.out, &made, &sentence)?;
        }
        UserCommand::List => verb.output.list(verb.out, &verb.client.list(&["v1", "users"])?, USERS)?,
    }
    Ok(ExitCode::SUCCESS)
}
