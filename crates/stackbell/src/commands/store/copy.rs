//! `stackbell store copy`: copies an embedded store into PostgreSQL.
//!
//! First the database is claimed and the file is marked, both with the same random id. Then one transaction copies all rows and
//! compares both sides. Servers refuse to open a marked file, and nodes refuse to open a claimed database before the copy is
//! complete. Two servers therefore never serve the same data. An interrupted copy leaves no rows; the next run starts from the
//! first row.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use stackbell_client::{Column, Output, Progress, counted, seconds};
use stackbell_config::{ConfigError, DatabaseSettings, Found, SettingFlags, StoreSettings};
use stackbell_model::{Clock as _, Entropy as _};
use stackbell_server::storage::{database_options, told_of_trust};
use stackbell_store::instance::{Instance as _, SendingHold};
use stackbell_store::transfer::{Compared, CopyBegun, CopyId, Export as _, TABLES};
use stackbell_store_postgres::{CopyProgress, PostgresStore};
use stackbell_store_sqlite::{Move, SqliteStore};
use stackbell_system::{Environment, Signals, SystemClock, SystemEntropy, block_on, note};
use stackbell_wire::rest::rfc3339;
use tokio::time::Instant;

use super::super::backup::hex;
use super::{audit, close_file, file_label, open_file, parse_file};

/// The action in the audit log.
const ACTION: &str = "instance.copy";

/// The reason of the sending hold that `--hold` starts.
const HELD: &str = "copied from an embedded store";

const COLUMNS: &[Column] = &[
    Column::id("NOUN", "/noun"),
    Column::id("ROWS", "/rows"),
    Column::id("SHA-256", "/sha256"),
    Column::text("SAME", "/same"),
];

#[derive(Debug, Args)]
#[command(after_help = "Example:
  stackbell migrate --store postgres://stackbell@db.example.com/stackbell
  stackbell store copy --from sqlite:stackbell-data/stackbell.db --to postgres://stackbell@db.example.com/stackbell

Stop the server first. The copy marks the file, and no server opens it any more.
After an interruption, run the same command: the copy starts again from the first row.
The nodes need the master key of the file's server.")]
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

/// Stops at a signal; the database then rolls back the transaction.
async fn until_signal<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    tokio::select! {
        done = work => done,
        signal = signals.next() => {
            bail!("interrupted by {}: the same command starts the copy again", signal.as_str())
        }
    }
}

/// The result of the command.
struct Copied {
    from: String,
    into: String,
    finished_at: Option<String>,
    /// `None` if an earlier run has completed the copy.
    done: Option<Done>,
    hold: Option<SendingHold>,
}

/// The copy that this run has made.
struct Done {
    compared: Vec<Compared>,
    took: Duration,
}

async fn copy(args: &CopyArgs, database: &DatabaseSettings) -> anyhow::Result<Copied> {
    let target =
        PostgresStore::open_to_copy(database_options(database).await?).await.map_err(told_of_trust)?;
    let source = open_file(&args.from).await?;
    let (from, into) = (file_label(&args.from)?, database.url.label());
    let sides = Sides { source: &source, from: &from, target: &target, into: &into };
    let done = match sides.claim().await? {
        Claim::Complete(id) => {
            source.end_move(id, SystemClock.now()).await?;
            None
        }
        Claim::Begun(id) => Some(sides.copy(id, args.hold).await?),
    };
    let hold = target.sending_hold().await?;
    let finished_at = target.copy_state().await?.and_then(|state| state.finished_at).map(rfc3339);
    close_file(source).await?;
    Ok(Copied { from, into, finished_at, done, hold })
}

/// Both sides, and their names in messages.
struct Sides<'sides> {
    source: &'sides SqliteStore,
    from: &'sides str,
    target: &'sides PostgresStore,
    into: &'sides str,
}

/// Whether there is something to copy.
enum Claim {
    /// An earlier run has copied everything.
    Complete(CopyId),
    /// The database is claimed, and the file is marked.
    Begun(CopyId),
}

impl Sides<'_> {
    /// Claims the database and marks the file.
    ///
    /// # Errors
    /// If the file is marked for another database, or the database is not empty.
    async fn claim(&self) -> anyhow::Result<Claim> {
        let (state, mark) = (self.target.copy_state().await?, self.source.find_move().await?);
        let id = match (&state, &mark) {
            (Some(state), Some(mark)) if state.id == mark.id => {
                if state.finished_at.is_some() {
                    return Ok(Claim::Complete(state.id));
                }
                note("an earlier copy was interrupted and left no rows: starting again");
                mark.id
            }
            (_, Some(mark)) => {
                ensure!(mark.ended_at.is_none() && mark.target == self.into, self.elsewhere(mark));
                mark.id
            }
            (_, None) => SystemEntropy::seeded()?.uuid_v4(),
        };
        let now = SystemClock.now();
        if let CopyBegun::NotEmpty { what } = self.target.begin_copy(id, self.from, now).await? {
            bail!(
                "{} holds {what}: a store is copied into an empty database that no node has served; make one, or drop the \
                 database and make it again, and run `stackbell migrate` on it",
                self.into
            );
        }
        self.source.begin_move(id, self.into, now).await?;
        Ok(Claim::Begun(id))
    }

    async fn copy(&self, id: CopyId, is_held: bool) -> anyhow::Result<Done> {
        let mut total = 0;
        for table in TABLES {
            total += self.source.count_rows(table).await?;
        }
        let audit = audit(ACTION, self.from)?;
        let hold = match self.source.sending_hold().await? {
            None if is_held => Some(SendingHold { since: audit.at, reason: HELD.into() }),
            hold => hold,
        };
        let since = Instant::now();
        let (copying, comparing) = (Progress::counted("rows copied", total), OnceCell::new());
        let progress = |step| match step {
            CopyProgress::Copied(rows) => copying.at(rows),
            CopyProgress::Compared(rows) => {
                copying.finish();
                comparing.get_or_init(|| Progress::counted("rows compared", total)).at(rows);
            }
        };
        let compared = self.target.copy(self.source, id, hold.as_ref(), &audit, &progress).await;
        let done = Done {
            compared: compared.context("the same command starts the copy again")?,
            took: since.elapsed(),
        };
        if done.is_same() {
            self.source.end_move(id, SystemClock.now()).await?;
        }
        Ok(done)
    }

    fn elsewhere(&self, mark: &Move) -> String {
        let (from, target) = (&self.from, &mark.target);
        let copied = match mark.ended_at {
            Some(at) => format!("was copied to {target} at {}", seconds(&rfc3339(at))),
            None => format!("is being copied to {target} (begun at {})", seconds(&rfc3339(mark.begun_at))),
        };
        format!(
            "{from} {copied}: use {target}, or take the file back first with `stackbell store take-back {from}`"
        )
    }
}

impl Done {
    fn is_same(&self) -> bool {
        self.compared.iter().all(Compared::is_same)
    }

    fn rows(&self) -> u64 {
        self.compared.iter().map(|table| table.source.rows).sum()
    }

    /// Rows per second, including the time for the comparison.
    fn rate(&self) -> u64 {
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.rows().saturating_mul(1000) / milliseconds
    }

    fn values(&self) -> Vec<Value> {
        self.compared.iter().map(value).collect()
    }
}

/// A table, for programs and for people.
fn value(compared: &Compared) -> Value {
    let Compared { table, source, target } = compared;
    let mut value = json!({
        "noun": table.name,
        "rows": source.rows,
        "sha256": hex(&source.sha256),
        "same": compared.is_same(),
    });
    if !compared.is_same() {
        value["target"] = json!({ "rows": target.rows, "sha256": hex(&target.sha256) });
    }
    value
}

impl Copied {
    fn print(&self, output: Output, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match output {
            Output::Json => output.one(out, &self.document(), "")?,
            Output::Table => self.print_words(out)?,
        }
        ensure!(
            self.done.as_ref().is_none_or(Done::is_same),
            "the rows in {} differ from {}, so the copy was rolled back: remove triggers and rules that change rows there, then copy again",
            self.into,
            self.from
        );
        Ok(ExitCode::SUCCESS)
    }

    fn document(&self) -> Value {
        json!({
            "from": self.from,
            "to": self.into,
            "rows": self.done.as_ref().map(Done::rows),
            "seconds": self.done.as_ref().map(|done| done.took.as_secs_f64()),
            "nouns": self.done.as_ref().map(Done::values),
            "finishedAt": self.finished_at,
            "sendingHeld": self.hold.is_some(),
        })
    }

    fn print_words(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Some(done) = &self.done else {
            let at = self.finished_at.as_deref().unwrap_or_default();
            writeln!(
                out,
                "{} was copied to {} at {}: nothing is left to do.",
                self.from,
                self.into,
                seconds(at)
            )?;
            return Ok(());
        };
        Output::Table.list(out, &done.values(), COLUMNS)?;
        if !done.is_same() {
            return Ok(());
        }
        writeln!(
            out,
            "\n{} is copied to {}: {} ({} a second), the same on both sides.",
            self.from,
            self.into,
            counted(done.rows(), "row", "rows"),
            done.rate()
        )?;
        if let Some(hold) = &self.hold {
            writeln!(out, "Sending is held: {}; `stackbell sending resume` ends that.", hold.reason)?;
        }
        writeln!(
            out,
            "No server opens the file any more. Start the nodes with the master key that its server had."
        )?;
        Ok(())
    }
}
