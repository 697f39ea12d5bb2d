//! The testbed of a round: the volume with the data, and the processes that use it.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use stackbell_model::Entropy as _;
use stackbell_testkit::{Client, SeededEntropy, ServerSetup};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::disk::{Disk, Loss, Promise};
use crate::node::{Node, NotReady};
use crate::plan::{Fault, Mode, Store};

/// The backoff schedule. The waits are short, so that a round ends soon after its last kill. There are many waits, so that no
/// delivery fails.
const RETRY_SCHEDULE: &str =
    "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms";

/// The most bytes that are left on a full disk.
const LEFT_MAX: f64 = 192.0 * 1024.0;

/// Log lines that are printed for a node that does not come back.
const LINES_TOLD: usize = 20;

/// The processes that a kill ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The node alone.
    Node,
    /// The database alone.
    Database,
    /// Everything.
    All,
}

/// A volume with data, a node and perhaps a database on it.
pub(crate) struct Testbed {
    mode: Mode,
    setup: ServerSetup,
    // Fields are dropped in order: processes end before their files are removed.
    node: Option<Node>,
    cluster: Option<Cluster>,
    volume: Volume,
    /// The data folder of the node.
    data: PathBuf,
    _data_folder: TempDir,
    logs: String,
}

/// The disk under the data.
enum Volume {
    /// The disk of this machine.
    Machine(TempDir),
    /// A simulated disk.
    Own(Box<Disk>),
}

impl Volume {
    fn path(&self) -> &Path {
        match self {
            Self::Machine(folder) => folder.path(),
            Self::Own(disk) => disk.path(),
        }
    }
}

impl Testbed {
    /// Makes the volume and the database. The node is not started.
    pub(crate) async fn make(
        binary: &Path,
        mode: Mode,
        promise: Promise,
        rng: &mut SeededEntropy,
    ) -> anyhow::Result<Self> {
        let mut volume = match mode.fault {
            Fault::Kill => Volume::Machine(tempfile::tempdir()?),
            Fault::Power | Fault::FullDisk => {
                Volume::Own(Box::new(Disk::new(promise, SeededEntropy::new(rng.next_u64()))?))
            }
        };
        let data_folder = tempfile::tempdir()?;
        let setup = ServerSetup::new(binary);
        let (setup, cluster, data) = match mode.store {
            Store::Sqlite => (setup.embedded(), None, volume.path().join("data")),
            Store::Postgres => {
                let cluster = database(&mut volume).await?;
                (setup.store(&cluster.url()), Some(cluster), data_folder.path().to_owned())
            }
        };
        let mut testbed = Self {
            mode,
            setup,
            node: None,
            cluster,
            volume,
            data,
            _data_folder: data_folder,
            logs: String::new(),
        };
        if let Some(cluster) = &mut testbed.cluster {
            cluster.start()?;
            cluster.ready().await?;
            testbed.setup.migrate(&cluster.url()).await;
        }
        Ok(testbed)
    }

    /// Starts the node if it does not run. The node may not be ready yet when this returns.
    pub(crate) fn start_node(&mut self) -> anyhow::Result<()> {
        if self.node.is_none() {
            let mut command = self.setup.command(&self.data);
            command.env("STACKBELL_RETRY_SCHEDULE", RETRY_SCHEDULE);
            self.node = Some(Node::start(command, self.setup.token())?);
        }
        Ok(())
    }

    /// Starts the database, if there is one that does not run, and waits until it accepts connections.
    pub(crate) async fn start_database(&mut self) -> anyhow::Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        if !cluster.is_running() {
            cluster.start()?;
        }
        cluster.ready().await
    }

    /// Starts all processes that do not run, and waits until they are ready.
    ///
    /// # Errors
    /// If a process has ended or does not get ready.
    pub(crate) async fn bring_up(&mut self) -> anyhow::Result<Client> {
        self.start_database().await?;
        self.start_node()?;
        match self.node.as_mut().context("it was started")?.ready().await {
            Ok(client) => Ok(client),
            Err(NotReady::Ended(log)) => {
                self.node = None;
                bail!("the node has ended:\n{}", end_of(&log))
            }
            Err(NotReady::Late(log)) => bail!("the node does not get ready:\n{}", end_of(&log)),
        }
    }

    /// Whether there is a database, which can be killed alone.
    pub(crate) fn has_database(&self) -> bool {
        self.cluster.is_some()
    }

    /// Kills the processes with SIGKILL, and lets the disk lose data as `loss` says.
    pub(crate) async fn kill(&mut self, victim: Victim, loss: Loss) -> anyhow::Result<()> {
        if victim != Victim::Database {
            self.kill_node().await?;
        }
        if victim != Victim::Node
            && let Some(cluster) = &mut self.cluster
        {
            cluster.kill().await?;
        }
        // The disk loses no data while a live process uses it.
        let is_in_use = match self.mode.store {
            Store::Sqlite => false,
            Store::Postgres => victim == Victim::Node,
        };
        match &mut self.volume {
            Volume::Own(disk) if !is_in_use => disk.lose_power(loss),
            Volume::Own(_) | Volume::Machine(_) => Ok(()),
        }
    }

    async fn kill_node(&mut self) -> anyhow::Result<()> {
        if let Some(node) = self.node.take() {
            self.logs.push_str(&node.kill().await?);
        }
        Ok(())
    }

    /// Fills the disk.
    pub(crate) fn fill(&self, rng: &mut SeededEntropy) {
        if let Volume::Own(disk) = &self.volume {
            disk.fill((LEFT_MAX * rng.fraction()) as u64);
        }
    }

    /// Makes room on the disk again.
    pub(crate) fn make_room(&self) {
        if let Volume::Own(disk) = &self.volume {
            disk.make_room();
        }
    }

    /// The number of writes that the full disk refused.
    pub(crate) fn refused(&self) -> usize {
        match &self.volume {
            Volume::Own(disk) => disk.refused(),
            Volume::Machine(_) => 0,
        }
    }

    /// Stops the node by SIGTERM, then the database. Returns the logs of all nodes.
    pub(crate) async fn end(mut self) -> anyhow::Result<String> {
        if let Some(node) = self.node.take() {
            self.logs.push_str(&node.terminate().await?);
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.kill().await?;
        }
        Ok(std::mem::take(&mut self.logs))
    }

    /// Kills all processes. Returns the logs of all nodes.
    pub(crate) async fn abandon(mut self) -> anyhow::Result<String> {
        self.kill(Victim::All, Loss::Nothing).await?;
        Ok(std::mem::take(&mut self.logs))
    }
}

/// A new database, whose files are synced to the disk.
async fn database(volume: &mut Volume) -> anyhow::Result<Cluster> {
    // The database runs as another user.
    set_permissions(volume.path(), Permissions::from_mode(0o777))?;
    let cluster = Cluster::make(volume.path()).await?;
    if let Volume::Own(disk) = volume {
        disk.lose_power(Loss::Nothing)?;
    }
    Ok(cluster)
}

/// The last lines of a log, which may have one line for each request.
fn end_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n")
}
