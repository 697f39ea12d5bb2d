//! Chaos: kills the binary at random moments under load, and checks its guarantees.
//!
//! - [`plan`]: the stores and the faults
//! - [`round`]: kills on an empty store, and the checks at the end
//! - [`testbed`]: the data and the processes; [`disk`], which loses data and fills up; [`node`] and
//!   [`cluster`], which are killed
//! - [`load`]: producers; [`endpoint`]: the receiving side; [`api`]: queries to the node
//!
//! The program checks invariants 1 to 3. An event with a 202 is present after a kill and is delivered. A delivery is sent again
//! only if the node was killed before its outcome was recorded.
//!
//! Runs with the same seed have the same faults, but not the same interleaving.

mod api;
mod cluster;
mod disk;
mod endpoint;
mod load;
mod node;
mod plan;
mod round;
mod tally;
mod testbed;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::{Parser, ValueEnum};
use stackbell_model::Entropy as _;
use stackbell_testkit::SeededEntropy;
use tokio::signal::unix::{SignalKind, signal};

use disk::Promise;
use plan::{Fault, Mode, Store, share};
use round::Round;
use tally::{Tally, table};

/// The number of kills on one store. Errors in stored data are found at the end of a round at the latest.
const KILLS_IN_ROUND: usize = 40;

/// Kills the binary under load, and counts lost, repeated and stuck deliveries.
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// The total number of kills.
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// Uses only this store; by default both.
    #[arg(long)]
    store: Option<Store>,
    /// The seed of the random numbers; by default another each time
    #[arg(long)]
    seed: Option<u64>,
    /// Kills only with a disk that loses unsynced data; by default all kinds of kills.
    #[arg(long)]
    discard_unsynced: bool,
    /// Kills only after the disk was filled.
    #[arg(long)]
    fill_disk: bool,
    /// Passes only if data is lost because the given part does not sync.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "build")]
    planted: Option<Planted>,
    /// The binary.
    #[arg(long, env = "STACKBELL_BINARY")]
    binary: PathBuf,
}

/// The part that does not sync although it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Planted {
    /// The binary, built with the feature `planted-unsynced`.
    Build,
    /// The disk, which falsely reports syncs.
    Disk,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        passed = run(&arguments) => Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

/// Returns whether the run passed.
async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    ensure!(arguments.kills > 0, "--kills must be at least 1");
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    println!("seed {seed}");
    let mut rng = SeededEntropy::new(seed);
    match arguments.planted {
        Some(what) => planted(arguments, what, &mut rng).await,
        None => all(arguments, &mut rng).await,
    }
}

/// Runs all selected modes, both stores in parallel, because leases in the database cause long waits.
async fn all(arguments: &Arguments, rng: &mut SeededEntropy) -> anyhow::Result<bool> {
    let mut faults = Vec::new();
    faults.extend(arguments.discard_unsynced.then_some(Fault::Power));
    faults.extend(arguments.fill_disk.then_some(Fault::FullDisk));
    let shares = share(arguments.kills, arguments.store, &faults);
    let (embedded, shared): (Vec<_>, Vec<_>) =
        shares.into_iter().partition(|(mode, _)| mode.store == Store::Sqlite);
    let seeds = [rng.next_u64(), rng.next_u64()];
    let (mut lines, others) = tokio::join!(
        in_turn(&arguments.binary, embedded, SeededEntropy::new(seeds[0])),
        in_turn(&arguments.binary, shared, SeededEntropy::new(seeds[1])),
    );
    lines.extend(others);
    let mut total = Tally::default();
    lines.iter().for_each(|(_, tally)| total.add(tally));
    let named = lines.iter().map(|(name, tally)| (name.as_str(), tally));
    println!("\n{}", table(named.chain([("all", &total)])));
    println!("{}", if total.is_clean() { "passed" } else { "FAILED" });
    Ok(total.is_clean())
}

/// Runs one mode after another, each until its kills are done or a check fails.
async fn in_turn(binary: &Path, shares: Vec<(Mode, usize)>, mut rng: SeededEntropy) -> Vec<(String, Tally)> {
    let mut lines = Vec::new();
    for (mode, kills) in shares {
        let mut of_mode = Tally::default();
        while of_mode.kills < kills && of_mode.is_clean() {
            let kills = KILLS_IN_ROUND.min(kills - of_mode.kills);
            let round = Round { binary, mode, kills, promise: Promise::Kept };
            of_mode.add(&played(&round, rng.next_u64()).await);
        }
        lines.push((mode.to_string(), of_mode));
    }
    lines
}

/// Runs a round, and prints its result.
async fn played(round: &Round<'_>, seed: u64) -> Tally {
    let tally = round.run(seed).await.unwrap_or_else(|problem| {
        let mut tally = Tally::default();
        tally.wrong(format!("{problem:#}"));
        tally
    });
    report(round.mode, &tally);
    tally
}

fn report(mode: Mode, tally: &Tally) {
    println!(
        "{mode}: {} kills, {} accepted, {} delivered, lost {}, stuck {}, longest recovery {:.2} s",
        tally.kills,
        tally.accepted,
        tally.endpoint.delivered,
        tally.lost,
        tally.stuck,
        tally.recovery_max.as_secs_f64(),
    );
    for problem in &tally.endpoint.problems {
        println!("  {problem}");
    }
}

/// Runs rounds until data is lost.
async fn planted(arguments: &Arguments, what: Planted, rng: &mut SeededEntropy) -> anyhow::Result<bool> {
    let store = arguments.store.unwrap_or(Store::Sqlite);
    let promise = match what {
        Planted::Build => Promise::Kept,
        Planted::Disk => Promise::Broken,
    };
    ensure!(
        what == Planted::Disk || store == Store::Sqlite,
        "what is stored in PostgreSQL is synced by PostgreSQL: plant it in the disk, with --planted=disk"
    );
    let mode = Mode { store, fault: Fault::Power };
    let mut tried = 0;
    while tried < arguments.kills {
        let kills = KILLS_IN_ROUND.min(arguments.kills - tried);
        let round = Round { binary: &arguments.binary, mode, kills, promise };
        let tally = played(&round, rng.next_u64()).await;
        // A node that failed to come back had also been killed.
        tried += tally.kills.max(1);
        if tally.lost > 0 {
            println!("caught after {tried} kills");
            return Ok(true);
        }
    }
    println!("NOT CAUGHT: nothing was lost by {tried} kills");
    Ok(false)
}
