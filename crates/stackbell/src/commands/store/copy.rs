//! `stackbell store copy`: moves an embedded store into PostgreSQL.
//!
//! The file is marked, copied page by page, and compared; only after that may nodes use the database. After an interruption,
//! such as a signal or a lost connection, the same command continues.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use stackbell_client::{Output, Progress, counted, seconds};
use stackbell_config::{ConfigError, DatabaseSettings, Found, SettingFlags, StoreSettings};
use stackbell_model::Clock as _;
use stackbell_server::storage::{database_options, told_of_trust};
use stackbell_store::instance::{Instance as _, SendingHold};
use stackbell_store::transfer::{CopyState, Copying, Export, Import as _, Noun, PageLimits};
use stackbell_store_postgres::PostgresStore;
use stackbell_store_sqlite::SqliteStore;
use stackbell_system::{Environment, Signals, SystemClock, block_on, note};
use stackbell_wire::rest::rfc3339;
use tokio::time::Instant;

use super::agreement::Sides;
use super::verify::{COLUMNS, Compared, compare};
use super::{audit, close_file, file_label, open_file, parse_file};

/// The action in the audit log.
const ACTION: &str = "instance.copy";

/// The reason of a requested hold.
const HELD: &str = "copied from an embedded store";

#[derive(Debug, Args)]
#[command(after_help = "Example:
  stackbell migrate --store postgres://stackbell@db.example.com/stackbell
  stackbell store copy --from sqlite:stackbell-data/stackbell.db --to postgres://stackbell@db.example.com/stackbell

The server is stopped before, and stays so: the file is marked, and no server takes it any more.
A copy that was interrupted goes on with the same command.
The nodes need the master key that the file's server had.")]
pub(super) struct CopyArgs {
    /// The file to copy
    #[arg(long, value_name = "sqlite:PATH", value_parser = parse_file)]
    from: PathBuf,
    /// The empty database to copy into; the default is the settings' store. Put a URL with a password into the settings
    #[arg(long, value_name = "postgres://…", conflicts_with = "store")]
    to: Option<String>,
    /// Hold all sending in the database until it is resumed
    #[arg(long)]
    hold: bool,
    /// The format of the output
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) fn run(
    args: &CopyArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut flags = args.settings.clone();
    if let Some(to) = &args.to {
        flags.given.insert("store", vec![to.clone()]);
    }
    let settings = Found::collect(&flags, environment, &[])?.settings()?;
    let StoreSettings::Postgres(database) = &settings.storage.store else {
        return Err(ConfigError::Conflict(format!(
            "{} is a file: a store is copied into a PostgreSQL database, --to postgres://…",
            settings.storage.store
        ))
        .into());
    };
    let copied = block_on(until_signal(copy(args, database))).context("cannot start the runtime")??;
    copied.print(args.output, out)
}

/// Stops the work at a signal: uncommitted rows are copied again by the next run.
async fn until_signal<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    tokio::select! {
        done = work => done,
        signal = signals.next() => {
            bail!("interrupted by {}: the same command goes on where this one was", signal.as_str())
        }
    }
}

/// The result of the command.
struct Copied {
    from: String,
    into: String,
    state: CopyState,
    /// `None` if an earlier run completed the copy.
    done: Option<Done>,
    hold: Option<SendingHold>,
}

/// The result of this run.
struct Done {
    compared: Vec<Compared>,
    /// The number of rows that this run copied. It is less than the total if an earlier run had begun.
    rows: u64,
    took: Duration,
}

async fn copy(args: &CopyArgs, database: &DatabaseSettings) -> anyhow::Result<Copied> {
    let target =
        PostgresStore::open_to_copy(database_options(database).await?).await.map_err(told_of_trust)?;
    let source = open_file(&args.from).await?;
    let (from, into) = (file_label(&args.from)?, database.url.label());
    let sides = Sides { source: &source, from: &from, target: &target, into: &into };
    let state = sides.agree().await?;
    let done = match state.finished_at {
        Some(_) => None,
        None => Some(copy_rows(&source, &target, &state).await?),
    };
    // A copy with differences must not be marked as finished.
    if done.as_ref().is_none_or(Done::is_same) {
        if done.is_some() {
            finish(args.hold, &source, &target, &state, &from).await?;
        }
        source.end_move(state.id, SystemClock.now()).await?;
    }
    let hold = target.sending_hold().await?;
    let state = target.copy_state().await?.unwrap_or(state);
    close_file(source).await?;
    Ok(Copied { from, into, state, done, hold })
}

async fn copy_rows(source: &SqliteStore, target: &PostgresStore, state: &CopyState) -> anyhow::Result<Done> {
    let mut total = 0;
    for noun in Noun::ALL {
        total += source.count_rows(*noun).await?;
    }
    let before = state.progress.rows;
    if before > 0 {
        note(&format!("{} of {total} are in already; going on", counted(before, "row", "rows")));
    }
    let since = Instant::now();
    let progress = Progress::counted("rows copied", total);
    let mut copying = Copying::new(source, target, state.id, state.progress, PageLimits::default());
    let mut rows = before;
    while let Some(step) = copying.step().await.context("the same command goes on with the copy")? {
        rows = step.rows;
        progress.at(rows);
    }
    progress.finish();
    let took = since.elapsed();
    target.settle().await?;
    let compared = compare(source, target, total).await?;
    Ok(Done { compared, rows: rows - before, took })
}

/// Finishes the copy; nodes may use the database after that.
async fn finish(
    is_held: bool,
    source: &SqliteStore,
    target: &PostgresStore,
    state: &CopyState,
    from: &str,
) -> anyhow::Result<()> {
    let audit = audit(ACTION, from)?;
    let hold = match source.sending_hold().await? {
        None if is_held => Some(SendingHold { since: audit.at, reason: HELD.into() }),
        hold => hold,
    };
    Ok(target.finish_copy(state.id, hold.as_ref(), audit).await?)
}

impl Done {
    fn is_same(&self) -> bool {
        self.compared.iter().all(Compared::is_same)
    }

    /// Copied rows per second.
    fn rate(&self) -> u64 {
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.rows.saturating_mul(1000) / milliseconds
    }

    fn values(&self) -> Vec<Value> {
        self.compared.iter().map(Compared::value).collect()
    }
}

impl Copied {
    fn is_same(&self) -> bool {
        self.done.as_ref().is_none_or(Done::is_same)
    }

    fn print(&self, output: Output, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match output {
            Output::Json => output.one(out, &self.document(), "")?,
            Output::Table => self.print_words(out)?,
        }
        if self.is_same() {
            return Ok(ExitCode::SUCCESS);
        }
        bail!(
            "{} does not hold what {} holds, and no node serves it: is the file sound, and nobody else at either? Drop the \
             database, make it anew, and copy again",
            self.into,
            self.from
        )
    }

    fn document(&self) -> Value {
        json!({
            "from": self.from,
            "to": self.into,
            "rows": self.state.progress.rows,
            "copiedNow": self.done.as_ref().map(|done| done.rows),
            "seconds": self.done.as_ref().map(|done| done.took.as_secs_f64()),
            "nouns": self.done.as_ref().map(Done::values),
            "finishedAt": self.state.finished_at.map(rfc3339),
            "sendingHeld": self.hold.is_some(),
        })
    }

    fn print_words(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Some(done) = &self.done else {
            let at = self.state.finished_at.map(rfc3339).unwrap_or_default();
            writeln!(
                out,
                "{} was copied to {} at {}: nothing is left to do.",
                self.from,
                self.into,
                seconds(&at)
            )?;
            return Ok(());
        };
        Output::Table.list(out, &done.values(), COLUMNS)?;
        if !done.is_same() {
            return Ok(());
        }
        let rows = done.compared.iter().map(Compared::rows).sum();
        writeln!(
            out,
            "\n{} is copied to {}: {} ({} now, {} a second), the same on both sides.",
            self.from,
            self.into,
            counted(rows, "row", "rows"),
            done.rows,
            done.rate()
        )?;
        if let Some(hold) = &self.hold {
            writeln!(out, "Sending is held: {}; `stackbell sending resume` ends that.", hold.reason)?;
        }
        writeln!(
            out,
            "No server takes the file any more. Start the nodes with the master key that its server had."
        )?;
        Ok(())
    }
}
