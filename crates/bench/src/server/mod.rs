//! The server under test: its own process, on an empty store.

mod api;
mod process;
mod setup;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Child;

pub(crate) use api::{Endpoint, NUMBER_MEMBER, Publishing, Statistics, event};
pub(crate) use setup::{ServerSetup, Store};

/// The server's process. It is killed when this is dropped, and when this process ends in any way.
pub(crate) struct ServerProcess {
    child: Killed,
    address: SocketAddr,
    kept: Kept,
}

/// A process that is killed and waited for when dropped, so that its folder can be removed.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if self.0.start_kill().is_err() {
            // The process has ended already.
            return;
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The data that a stopped server leaves.
pub(crate) struct Kept {
    data: TempDir,
    /// The URL of its database; `None` for the embedded store.
    database: Option<String>,
}

impl Kept {
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }
}

impl ServerProcess {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Stops the server as an operator would, and keeps its data.
    ///
    /// # Errors
    /// If it does not stop in time, or exits with an error.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Kept> {
        let id = self.child.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.context("the server has ended by itself")?, Signal::TERM)?;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.0.wait()).await;
        let status: ExitStatus = ended.context("the server did not stop in time")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(self.kept)
    }

    /// Kills it at once, with all requests in flight.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.0.kill().await?)
    }
}
