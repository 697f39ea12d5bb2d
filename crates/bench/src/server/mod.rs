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

/// The server's process. Killed when dropped, and with this process however that ends.
pub(crate) struct ServerProcess {
    child: Killed,
    address: SocketAddr,
    kept: Kept,
}

/// A process that has ended once this is dropped, so that its folder can go.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if self.0.start_kill().is_err() {
            // It has ended.
            return;
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a server keeps when it has stopped.
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

    /// Ends the server as an operator would, and keeps what it stored.
    ///
    /// # Errors
    /// When it does not stop in time, or says that something is wrong.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Kept> {
        let id = self.child.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.context("the server has ended by itself")?, Signal::TERM)?;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.0.wait()).await;
        let status: ExitStatus = ended.context("the server did not stop in time")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(self.kept)
    }

    /// Ends it at once, with all that it has under way.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.0.kill().await?)
    }
}
