//! `stackbell store`: copies an embedded store into PostgreSQL, and takes the file back.

mod copy;
mod take_back;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use stackbell_model::Clock as _;
use stackbell_model::ids::AuditId;
use stackbell_store::audit::AuditEntry;
use stackbell_store_sqlite::{OpenError, SqliteStore};
use stackbell_system::{Environment, SystemClock, SystemEntropy};

/// The prefix of a file in flags and messages.
const FILE_PREFIX: &str = "sqlite:";

/// The actor in the audit log.
const ACTOR: &str = "stackbell";

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Copy all of an embedded store into an empty PostgreSQL database
    Copy(Box<copy::CopyArgs>),
    /// Remove a file's copy mark, so that a server can use the file again
    TakeBack(take_back::TakeBackArgs),
}

pub(crate) fn run(
    args: &StoreArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match &args.command {
        StoreCommand::Copy(args) => copy::run(args, environment, out),
        StoreCommand::TakeBack(args) => take_back::run(args, out),
    }
}

/// Parses `sqlite:PATH`.
fn parse_file(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix(FILE_PREFIX) {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(PathBuf::from(path)),
        Some(_) | None => Err("must be written sqlite:PATH".to_owned()),
    }
}

/// The name of a file in messages.
fn file_label(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    Ok(format!("{FILE_PREFIX}{}", absolute.display()))
}

async fn open_file(path: &Path) -> anyhow::Result<SqliteStore> {
    let owned = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open_to_move(&owned)).await;
    opened.context("opening the store was interrupted")?.map_err(|error| {
        let remedy = match &error {
            OpenError::InUse { .. } => ": stop the server first",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot open {}{remedy}", path.display()))
    })
}

/// Closes a file on a blocking thread, because closing writes to disk.
async fn close_file(store: SqliteStore) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || drop(store)).await.context("the store did not close")
}

/// An entry of the instance's audit log.
fn audit(action: &'static str, target: &str) -> anyhow::Result<AuditEntry> {
    let (now, mut entropy) = (SystemClock.now(), SystemEntropy::seeded()?);
    Ok(AuditEntry {
        id: AuditId::generate(now, &mut entropy),
        at: now,
        organization: None,
        actor: ACTOR.into(),
        token: None,
        remote: None,
        action,
        target: target.into(),
        fields: Vec::new(),
    })
}
