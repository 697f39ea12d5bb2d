//! Chaos: the binary is killed at random moments under load, and what it promised is counted.
//!
//! - [`plan`]: which store, and what goes wrong
//! - [`round`]: an empty store, kills, and the look at what is there in the end
//! - [`testbed`]: the data and the processes; [`disk`], which forgets and fills up; [`node`] and [`cluster`], which are killed
//! - [`load`]: producers; [`endpoint`]: the other side; [`api`]: what the node says
//!
//! What it checks are the invariants 1 to 3: what was answered 202 is there after a kill and is delivered; a delivery is sent
//! again only if the node was killed before its outcome was recorded.
//! A seed gives the same faults again, not the same interleaving.

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

/// Kills of one store. What was kept wrongly is seen in the end of a round at the latest.
const KILLS_IN_ROUND: usize = 40;

/// Kills the binary under load, and counts what was lost, repeated and stuck.
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// Kills in all.
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// Only with this store; by default with both.
    #[arg(long)]
    store: Option<Store>,
    /// The seed of the random numbers; by default another each time
    #[arg(long)]
    seed: Option<u64>,
    /// Only kills at which the disk forgets what was not synced; by default these, and all others.
    #[arg(long)]
    discard_unsynced: bool,
    /// Only kills after the disk was filled up.
    #[arg(long)]
    fill_disk: bool,
    /// Passes only if something is lost, because what is named does not sync.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "build")]
    planted: Option<Planted>,
    /// The binary.
    #[arg(long, env = "STACKBELL_BINARY")]
    binary: PathBuf,
}

/// What does not sync although it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Planted {
    /// The binary, which was built with the feature `planted-unsynced`.
    Build,
    /// The disk, which says that it did.
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

/// Whether it passed.
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

/// Tries all that is asked for, both stores at once: where leases are in the database there is much waiting.
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

/// Tries one way after the other, each until all its kills are done or something is wrong.
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

/// Plays a round, and tells of it.
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

/// Tries until something is lost.
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
        // One that did not come back was killed as well.
        tried += tally.kills.max(1);
        if tally.lost > 0 {
            println!("caught after {tried} kills");
            return Ok(true);
        }
    }
    println!("NOT CAUGHT: nothing was lost by {tried} kills");
    Ok(false)
}
