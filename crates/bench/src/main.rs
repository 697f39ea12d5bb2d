//! The benchmark.
//!
//! Receiver, load and server are separate processes on one machine, connected over loopback. Every rate is
//! printed beside the rate of a minimal client against the same receiver in the same run, because both depend
//! mostly on the machine.
//! `docs/performance.md` explains the figures.
//!
//! - [`scenarios`]: the scenarios, one per file
//! - [`load`], [`receiver`], [`server`]: the processes
//! - [`measure`], [`latency`]: single measurements with these processes
//! - [`report`], [`machine`]: the output

mod attached;
mod child_process;
mod client;
mod database;
mod latency;
mod load;
mod machine;
mod measure;
mod monotonic_time;
mod receiver;
mod report;
mod scenarios;
mod server;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use database::Databases;
use receiver::Badness;
use report::Report;
use scenarios::{Bench, NodesOrder, Scenario};
use server::{ServerSetup, Store};

/// Measures Stackbell on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the scenarios, and prints a table of their figures.
    Run(RunArguments),
    /// Compares one, two and three nodes on one PostgreSQL with the embedded store: single events and NDJSON.
    Nodes(NodesArguments),
    /// Runs the healthy endpoints.
    #[command(name = receiver::PART, hide = true)]
    Receive { endpoints: usize },
    /// Runs endpoints that all fail in the given way.
    #[command(name = receiver::BAD_PART, hide = true)]
    ReceiveBadly { badness: Badness, endpoints: usize },
    /// Runs the load.
    #[command(name = load::PART, hide = true)]
    Load,
    /// Runs a command that ends with the process of this id.
    #[command(hide = true)]
    Attached {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

#[derive(Args)]
struct RunArguments {
    /// A few seconds for each scenario: checks that everything works, not its speed.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios, separated by commas; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// `sqlite`, or the URL of a PostgreSQL server whose user may create databases; each server gets an empty
    /// one.
    #[arg(long, default_value = "sqlite")]
    store: String,
    /// The number of pairs of measurements.
    #[arg(long)]
    pairs: Option<usize>,
    /// The duration of each measurement in seconds.
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Args)]
struct NodesArguments {
    /// The URL of a PostgreSQL server whose user may create databases.
    #[arg(long)]
    store: String,
    /// The maximum number of nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// The duration of each measurement in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// The number of rounds. Each setup is measured once per round.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Args)]
struct ServerArguments {
    /// The server's binary; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The folder for temporary data folders: on a disk, not in memory.
    #[arg(long, default_value = ".bench")]
    data: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Attached { parent, words } => attached::become_command(parent, &words),
        Command::Receive { endpoints } => on_all_cores(receiver::receive(endpoints)),
        Command::ReceiveBadly { badness, endpoints } => {
            on_all_cores(receiver::receive_badly(badness, endpoints))
        }
        Command::Load => on_all_cores(load::generate()),
        Command::Run(arguments) => in_charge(run(arguments)),
        Command::Nodes(arguments) => in_charge(nodes(arguments)),
    }
}

fn on_all_cores(part: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(part);
    // A thread reads standard input, and ends only with the input.
    runtime.shutdown_background();
    result
}

/// Runs the main process on one thread, because an attached server ends with the thread that started it. When
/// the benchmark is stopped, all child processes are dropped and thereby killed.
fn in_charge(part: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    attached::raise_open_files()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(part)
}

async fn unless_stopped<T>(part: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = part => result,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to stop"),
    }
}

async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let folder = scratch(&arguments.server.data)?;
    let databases = match arguments.store.as_str() {
        "sqlite" => None,
        url => Some(Databases::on(url)?),
    };
    let store = databases.clone().map_or(Store::Embedded, Store::Fresh);
    let bench = Bench {
        setup: ServerSetup::new(arguments.server.server, folder.path(), store)?,
        quick: arguments.quick,
        pairs: arguments.pairs,
        time: arguments.seconds.map(Duration::from_secs),
    };
    let scenarios = if arguments.only.is_empty() { Scenario::value_variants() } else { &arguments.only };
    machine::describe(folder.path())?;
    println!("store        {}", if databases.is_some() { "PostgreSQL" } else { "embedded" });
    let result = unless_stopped(run_all(&bench, scenarios)).await;
    clear_up(folder, databases).await?;
    result
}

/// Runs all scenarios, even if one fails, and prints the table of all results.
async fn run_all(bench: &Bench, scenarios: &[Scenario]) -> anyhow::Result<()> {
    let mut report = Report::default();
    let mut failed = Vec::new();
    for scenario in scenarios {
        println!("\n{}", scenario.name());
        match scenario.run(bench).await {
            Ok(figures) => report.add(scenario.name(), figures),
            Err(error) => {
                println!("  FAILED: {error:#}");
                failed.push(scenario.name());
            }
        }
    }
    println!("\n{}", report.table()?);
    let (targets, met) = report.targets()?;
    println!("\ntargets: {met} of {targets} met");
    ensure!(failed.is_empty(), "no figures of {}", failed.join(", "));
    Ok(())
}

async fn nodes(arguments: NodesArguments) -> anyhow::Result<()> {
    let folder = scratch(&arguments.server.data)?;
    let databases = Databases::on(&arguments.store)?;
    let setup = ServerSetup::new(arguments.server.server, folder.path(), Store::Embedded)?;
    let order = NodesOrder {
        databases: databases.clone(),
        nodes: arguments.nodes,
        time: Duration::from_secs(arguments.seconds),
        rounds: arguments.rounds,
    };
    machine::describe(folder.path())?;
    let result = unless_stopped(scenarios::compare_nodes(&setup, &order)).await;
    clear_up(folder, Some(databases)).await?;
    result
}

/// Creates a temporary folder for the data folders of this run.
fn scratch(data: &Path) -> anyhow::Result<tempfile::TempDir> {
    std::fs::create_dir_all(data)?;
    Ok(tempfile::tempdir_in(data)?)
}

/// Removes the data. All servers must have ended.
async fn clear_up(folder: tempfile::TempDir, databases: Option<Databases>) -> anyhow::Result<()> {
    if let Some(databases) = databases {
        databases.remove().await?;
    }
    Ok(folder.close()?)
}
