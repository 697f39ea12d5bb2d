//! The load: a process that sends requests and reports the results.

mod generate;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::child_process::ChildProcess;
use crate::client::Request;
use crate::monotonic_time::MonotonicTime;

pub(crate) use generate::generate;

pub(crate) const PART: &str = "load";

/// The placeholder for a number in a paced request's body. It has twelve digits, so that all bodies have the
/// same size.
pub(crate) const NUMBER: &str = "000000000000";

/// The load to generate.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The servers. Connections are distributed round robin.
    pub(crate) to: Vec<SocketAddr>,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    pub(crate) pattern: Pattern,
}

/// The times at which requests are sent.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// Each connection sends its next request after the last response, for this time, at least once.
    For(Duration),
    /// Each connection sends its next request after the last response, until this many responses have arrived.
    Times(u64),
    /// A fixed rate, independent of responses. Requests are numbered from 1.
    Paced { per_second: u32, time: Duration },
}

/// The results.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    /// The timestamps of paced requests.
    pub(crate) stamps: Vec<Stamp>,
}

/// The times of a request and of its response.
///
/// If the connection was busy at a request's scheduled time, the request counts as sent at that time. The delay that a slow
/// response causes is therefore part of the next latency.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) number: u64,
    pub(crate) sent: MonotonicTime,
    pub(crate) answered: MonotonicTime,
}

/// The load's process, connected and ready to start.
pub(crate) struct LoadProcess(ChildProcess);

impl LoadProcess {
    pub(crate) async fn connect(order: &Order) -> anyhow::Result<Self> {
        let mut process = ChildProcess::start(PART, &[])?;
        let Ready = process.ask(&serde_json::to_string(order)?).await?;
        Ok(Self(process))
    }

    /// Sends all requests.
    pub(crate) async fn run(mut self) -> anyhow::Result<Sent> {
        self.0.ask("go").await
    }
}

/// Sends the load from a separate process.
pub(crate) async fn send(order: &Order) -> anyhow::Result<Sent> {
    LoadProcess::connect(order).await?.run().await
}

/// Reports that all connections are open.
#[derive(Serialize, Deserialize)]
struct Ready;
