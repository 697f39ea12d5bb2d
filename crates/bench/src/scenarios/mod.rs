//! The scenarios, one per file.

mod backlog;
mod bad_endpoints;
mod endurance;
mod fan_out;
mod idle;
mod memory_and_disk;
mod ndjson;
mod nodes;
mod paced;
mod single_post;
mod throughput;

use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;

use crate::report::{Figure, Target};
use crate::server::{ServerSetup, Store};

pub(crate) use nodes::{NodesOrder, compare as compare_nodes};

/// A scenario of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Single events, for one endpoint, beside the raw rate.
    SinglePost,
    /// Single events, for ten endpoints, beside the raw rate.
    FanOut,
    /// Events as NDJSON, for one endpoint, beside the raw rate.
    Ndjson,
    /// A hundred events per second: the latency of each.
    Paced,
    /// A healthy endpoint alone, and beside a thousand bad endpoints of each known kind.
    BadEndpoints,
    /// A million pending deliveries: memory, and their effect on the next thousand.
    Backlog,
    /// Memory under load, and disk space of the deliveries.
    MemoryAndDisk,
    /// A mixed load: whether memory grows; `--seconds 1800` for half an hour.
    Endurance,
    /// An idle server: its startup time, memory and CPU, and the size of the binary.
    Idle,
}

impl Scenario {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SinglePost => "single-post",
            Self::FanOut => "fan-out",
            Self::Ndjson => "ndjson",
            Self::Paced => "paced",
            Self::BadEndpoints => "bad-endpoints",
            Self::Backlog => "backlog",
            Self::MemoryAndDisk => "memory-and-disk",
            Self::Endurance => "endurance",
            Self::Idle => "idle",
        }
    }

    pub(crate) async fn run(self, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::SinglePost => single_post::run(bench).await,
            Self::FanOut => fan_out::run(bench).await,
            Self::Ndjson => ndjson::run(bench).await,
            Self::Paced => paced::run(bench).await,
            Self::BadEndpoints => bad_endpoints::run(bench).await,
            Self::Backlog => backlog::run(bench).await,
            Self::MemoryAndDisk => memory_and_disk::run(bench).await,
            Self::Endurance => endurance::run(bench).await,
            Self::Idle => idle::run(bench).await,
        }
    }
}

/// The settings of all scenarios.
pub(crate) struct Bench {
    pub(crate) setup: ServerSetup,
    /// A smoke test: everything runs, but the figures mean little.
    pub(crate) quick: bool,
    pub(crate) pairs: Option<usize>,
    pub(crate) time: Option<Duration>,
}

impl Bench {
    /// Selects a value: the first for meaningful figures, the second for a smoke test.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The number of pairs of measurements: the option, or the default.
    fn pairs(&self) -> anyhow::Result<usize> {
        let pairs = self.pairs.unwrap_or(self.pick(3, 1));
        ensure!(pairs > 0, "--pairs must be at least 1");
        Ok(pairs)
    }

    /// The duration of a measurement in seconds: the option, or the default.
    fn seconds(&self, full: u64) -> Duration {
        self.time.unwrap_or(Duration::from_secs(self.pick(full, 1)))
    }

    /// Adds a target. Targets apply only to the embedded store.
    fn aim(&self, figure: Figure, target: Target) -> Figure {
        match self.setup.store() {
            Store::Embedded => figure.with_target(target),
            Store::Fresh(_) | Store::Shared(_) => figure,
        }
    }
}
