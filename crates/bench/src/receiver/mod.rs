//! The receivers: a process of healthy endpoints, and one of endpoints that all fail in one way.

mod bad;
mod healthy;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use crate::child_process::ChildProcess;
use crate::monotonic_time::MonotonicTime;

pub(crate) use bad::{Badness, receive_badly};
pub(crate) use healthy::{HOOK_PATH, STAMPED_PATH, receive};

pub(crate) const PART: &str = "receive";
pub(crate) const BAD_PART: &str = "receive-badly";

/// The process of healthy endpoints, each on its own port. They respond 200 at once, and count requests.
pub(crate) struct Receiver {
    process: ChildProcess,
    addresses: Vec<SocketAddr>,
}

impl Receiver {
    pub(crate) async fn start(endpoints: usize) -> anyhow::Result<Self> {
        let mut process = ChildProcess::start(PART, &[&endpoints.to_string()])?;
        let addresses = process.answer().await?;
        Ok(Self { process, addresses })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The number of requests so far, without those for the raw rate.
    pub(crate) async fn count(&mut self) -> anyhow::Result<u64> {
        self.process.ask(healthy::COUNT).await
    }

    /// Waits until it has counted this many requests.
    ///
    /// # Errors
    /// If no request came for a while.
    pub(crate) async fn wait_for(&mut self, wanted: u64) -> anyhow::Result<()> {
        const SILENCE_MAX: Duration = Duration::from_secs(60);
        let mut last = (0, Instant::now());
        loop {
            let count = self.count().await?;
            if count >= wanted {
                return Ok(());
            }
            if count != last.0 {
                last = (count, Instant::now());
            }
            ensure!(
                last.1.elapsed() < SILENCE_MAX,
                "{count} of {wanted} deliveries came, and no more for a minute"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns and clears the stored arrival times, by the number in the request.
    pub(crate) async fn arrivals(&mut self) -> anyhow::Result<Vec<(u64, MonotonicTime)>> {
        self.process.ask(healthy::ARRIVALS).await
    }
}

/// The process of bad endpoints.
pub(crate) struct BadReceiver {
    _process: ChildProcess,
    urls: Vec<String>,
}

impl BadReceiver {
    pub(crate) async fn start(badness: Badness, endpoints: usize) -> anyhow::Result<Self> {
        let mut process = ChildProcess::start(BAD_PART, &[badness.name(), &endpoints.to_string()])?;
        let addresses: Vec<SocketAddr> = process.answer().await?;
        let urls =
            addresses.iter().map(|address| format!("{}://{address}{HOOK_PATH}", badness.scheme())).collect();
        Ok(Self { _process: process, urls })
    }

    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }
}
