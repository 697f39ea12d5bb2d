//! `stackbell audit`: the log of changes.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use stackbell_system::Environment;

use crate::output::Column;
use crate::verb::{ClientArgs, LimitArgs, Verb};

const ENTRIES: &[Column] = &[
    Column::time("AT", "/at"),
    Column::text("WHO", "/actor"),
    Column::text("ACTION", "/action"),
    Column::text("TARGET", "/target"),
    Column::text("FIELDS", "/fields"),
    Column::text("FROM", "/remote"),
];

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["org", "instance"]))]
#[command(after_help = "Examples:
  stackbell audit acme --limit 20
  stackbell audit --instance --output json --all")]
pub struct AuditArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The organization; for its admins
    org: Option<String>,
    /// Show the changes of the instance instead; for operators
    #[arg(long)]
    instance: bool,
    #[command(flatten)]
    limit: LimitArgs,
}

pub(crate) fn run(
    args: &AuditArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut verb = Verb::new(&args.client, environment, out)?;
    let path = match &args.org {
        Some(organization) => vec!["v1", "orgs", organization, "audit"],
        None => vec!["v1", "instance", "audit"],
    };
    verb.history(&path, &[], args.limit, ENTRIES)?;
    Ok(ExitCode::SUCCESS)
}
