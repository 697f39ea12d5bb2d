//! What is measured, a file each.

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

/// What a run consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Events posted one each, for one endpoint, beside the raw rate.
    SinglePost,
    /// The same for ten endpoints.
    FanOut,
    /// Events as NDJSON, for one endpoint, beside the raw rate.
    Ndjson,
    /// A hundred events a second: how long each takes.
    Paced,
    /// A healthy endpoint alone, and beside a thousand that are bad in each way that we know.
    BadEndpoints,
    /// A million deliveries that wait: memory, and whether they make the next thousand slower.
    Backlog,
    /// Memory under load, and disk for what was delivered.
    MemoryAndDisk,
    /// Everything at once: whether memory grows; `--seconds 1800` for half an hour.
    Endurance,
    /// A server that nobody uses: its start, memory and CPU, and the size of the binary.
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

/// What all scenarios are run with.
pub(crate) struct Bench {
    pub(crate) setup: ServerSetup,
    /// A smoke run: all of it happens, and the figures say little.
    pub(crate) quick: bool,
    pub(crate) pairs: Option<usize>,
    pub(crate) time: Option<Duration>,
}

impl Bench {
    /// One of these: the first for figures that are worth something.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How many pairs are measured, unless somebody asked for another number.
    fn pairs(&self) -> anyhow::Result<usize> {
        let pairs = self.pairs.unwrap_or(self.pick(3, 1));
        ensure!(pairs > 0, "--pairs must be at least 1");
        Ok(pairs)
    }

    /// How many seconds a measurement lasts, unless somebody asked for another number.
    fn seconds(&self, full: u64) -> Duration {
        self.time.unwrap_or(Duration::from_secs(self.pick(full, 1)))
    }

    /// Targets are those of the embedded store.
    fn aim(&self, figure: Figure, target: Target) -> Figure {
        match self.setup.store() {
            Store::Embedded => figure.with_target(target),
            Store::Fresh(_) | Store::Shared(_) => figure,
        }
    }
}
