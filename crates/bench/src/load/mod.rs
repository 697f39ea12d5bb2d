//! The load: a process that sends requests and says what came of them.

mod generate;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::child_process::ChildProcess;
use crate::client::Request;
use crate::monotonic_time::MonotonicTime;

pub(crate) use generate::generate;

pub(crate) const PART: &str = "load";

/// What stands in a paced request's body where its number is to be. Twelve digits, so that all bodies are of one size.
pub(crate) const NUMBER: &str = "000000000000";

/// What is to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// By turns, a connection each.
    pub(crate) to: Vec<SocketAddr>,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    pub(crate) pattern: Pattern,
}

/// When requests are sent.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// The next one when the one before is answered, at least one on each connection.
    For(Duration),
    /// The same until so many are answered.
    Times(u64),
    /// So many a second whether answers come or not, numbered from 1.
    Paced { per_second: u32, time: Duration },
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    /// Of each paced request.
    pub(crate) stamps: Vec<Stamp>,
}

/// When a request was sent, and when its answer had come.
///
/// It counts as sent when it was its turn, where the connection was still busy: what waits because an answer is late is
/// late itself.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) number: u64,
    pub(crate) sent: MonotonicTime,
    pub(crate) answered: MonotonicTime,
}

/// The load's process, connected and about to begin.
pub(crate) struct LoadProcess(ChildProcess);

impl LoadProcess {
    pub(crate) async fn connect(order: &Order) -> anyhow::Result<Self> {
        let mut process = ChildProcess::start(PART, &[])?;
        let Ready = process.ask(&serde_json::to_string(order)?).await?;
        Ok(Self(process))
    }

    /// Sends all of it.
    pub(crate) async fn run(mut self) -> anyhow::Result<Sent> {
        self.0.ask("go").await
    }
}

/// Sends what is ordered, in a process of its own.
pub(crate) async fn send(order: &Order) -> anyhow::Result<Sent> {
    LoadProcess::connect(order).await?.run().await
}

/// All connections are made.
#[derive(Serialize, Deserialize)]
struct Ready;
