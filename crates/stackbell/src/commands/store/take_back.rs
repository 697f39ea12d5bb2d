//! `stackbell store take-back`: removes the mark from a file that was copied elsewhere, so that a server can use it again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use stackbell_store_sqlite::Move;
use stackbell_system::block_on;

use super::{audit, close_file, open_file, parse_file};

/// The action in the audit log.
const ACTION: &str = "instance.take_back";

#[derive(Debug, Args)]
#[command(after_help = "Example:
  stackbell store take-back sqlite:stackbell-data/stackbell.db

Stop all nodes of a finished copy for good first: pending deliveries would be sent twice.")]
pub(super) struct TakeBackArgs {
    /// The file
    #[arg(value_name = "sqlite:PATH", value_parser = parse_file)]
    file: PathBuf,
}

pub(super) fn run(args: &TakeBackArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let was = block_on(take_back(&args.file)).context("cannot start the runtime")??;
    writeln!(
        out,
        "{} is a store of its own again, as it was before it was copied to {}.",
        args.file.display(),
        was.target
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn take_back(path: &Path) -> anyhow::Result<Move> {
    let store = open_file(path).await?;
    let Some(was) = store.find_move().await? else {
        anyhow::bail!("{} was not copied: servers can use it already", path.display());
    };
    ensure!(
        store.take_back(audit(ACTION, &was.target)?).await?,
        "another process has already taken {} back",
        path.display()
    );
    close_file(store).await?;
    Ok(was)
}
