//! `stackbell org`: organizations and their members.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stackbell_system::Environment;
use ureq::http::Method;

use super::token::role;
use crate::api::Payload;
use crate::output::Column;
use crate::verb::{ClientArgs, Verb, object};

const ORGANIZATIONS: &[Column] = &[
    Column::id("NAME", "/name"),
    Column::text("DISPLAY NAME", "/displayName"),
    Column::time("CREATED", "/createdAt"),
];
const MEMBERS: &[Column] =
    &[Column::id("LOGIN", "/login"), Column::id("NAME", "/name"), Column::text("ROLE", "/role")];

#[derive(Debug, Args)]
pub struct OrgArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: OrgCommand,
}

#[derive(Debug, Subcommand)]
enum OrgCommand {
    /// Create an organization
    New {
        /// Its name in URLs
        name: String,
        /// Its name for people
        #[arg(long)]
        display_name: Option<String>,
        /// The login of its first admin; your own if absent
        #[arg(long, value_name = "LOGIN")]
        admin: Option<String>,
    },
    /// List organizations
    List,
    /// Members
    #[command(subcommand)]
    Member(MemberCommand),
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Make a user a member with this role, or change the role
    Set {
        /// The organization
        org: String,
        /// The user
        login: String,
        /// admin, member, publisher or viewer
        #[arg(value_parser = role)]
        role: String,
    },
    /// List members
    List {
        /// The organization
        org: String,
    },
    /// Remove a member
    Remove {
        /// The organization
        org: String,
        /// The user
        login: String,
    },
}

pub(crate) fn run(
    args: &OrgArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut verb = Verb::new(&args.client, environment, out)?;
    match &args.command {
        OrgCommand::New { name, display_name, admin } => {
            let body = object([
                ("name", Some(json!(name))),
                ("displayName", display_name.as_ref().map(|name| json!(name))),
                ("admin", admin.as_ref().map(|login| json!(login))),
            ]);
            let made = verb.client.call(Method::POST, &["v1", "orgs"], Payload::Json(&body))?;
            verb.output.one(verb.out, &made, &format!("Made the organization {name}."))?;
        }
        OrgCommand::List => {
            verb.output.list(verb.out, &verb.client.list(&["v1", "orgs"])?, ORGANIZATIONS)?;
        }
        OrgCommand::Member(command) => member(command, &mut verb)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn member(command: &MemberCommand, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    match command {
        MemberCommand::Set { org, login, role } => {
            let path = ["v1", "orgs", org, "members", login];
            let body = json!({ "role": role });
            let set = verb.client.call(Method::PUT, &path, Payload::Json(&body))?;
            verb.output.one(verb.out, &set, &format!("{login} is {role} of {org}."))?;
        }
        MemberCommand::List { org } => {
            let members = verb.client.list(&["v1", "orgs", org, "members"])?;
            verb.output.list(verb.out, &members, MEMBERS)?;
        }
        MemberCommand::Remove { org, login } => {
            let path = ["v1", "orgs", org, "members", login];
            verb.client.call(Method::DELETE, &path, Payload::Empty)?;
            verb.output.one(verb.out, &Value::Null, &format!("{login} is no member of {org} any more."))?;
        }
    }
    Ok(())
}
