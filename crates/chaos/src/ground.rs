//! Where a round's data lies, and the processes that work on it.

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

/// The waits after failed attempts: short, so that a round ends soon after its last kill, and many, so that none fails.
const RETRY_SCHEDULE: &str =
    "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms";

/// The most that is left on a disk which is called full.
const LEFT_MAX: f64 = 192.0 * 1024.0;

/// How many lines are told of the log of a node that does not come back.
const LINES_TOLD: usize = 20;

/// What a kill ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The node alone.
    Node,
    /// The database alone.
    Database,
    /// Everything.
    All,
}

/// A place for data, with a node and perhaps a database at work on it.
pub(crate) struct Ground {
    mode: Mode,
    setup: ServerSetup,
    // Processes end before what they work on goes.
    node: Option<Node>,
    cluster: Option<Cluster>,
    place: Place,
    /// Where the node has files beside those of its store.
    data: PathBuf,
    _data_folder: TempDir,
    logs: String,
}

/// What data lies on.
enum Place {
    /// This machine's own disk.
    Machine(TempDir),
    /// One of ours.
    Own(Box<Disk>),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Machine(folder) => folder.path(),
            Self::Own(disk) => disk.path(),
        }
    }
}

impl Ground {
    /// Makes everything but the node, which is not started.
    pub(crate) async fn make(
        binary: &Path,
        mode: Mode,
        promise: Promise,
        chance: &mut SeededEntropy,
    ) -> anyhow::Result<Self> {
        let mut place = match mode.fault {
            Fault::Kill => Place::Machine(tempfile::tempdir()?),
            Fault::Power | Fault::FullDisk => {
                Place::Own(Box::new(Disk::new(promise, SeededEntropy::new(chance.next_u64()))?))
            }
        };
        let data_folder = tempfile::tempdir()?;
        let setup = ServerSetup::new(binary);
        let (setup, cluster, data) = match mode.store {
            Store::Sqlite => (setup.embedded(), None, place.path().join("data")),
            Store::Postgres => {
                let cluster = database(&mut place).await?;
                (setup.store(&cluster.url()), Some(cluster), data_folder.path().to_owned())
            }
        };
        let mut ground = Self {
            mode,
            setup,
            node: None,
            cluster,
            place,
            data,
            _data_folder: data_folder,
            logs: String::new(),
        };
        if let Some(cluster) = &mut ground.cluster {
            cluster.start()?;
            cluster.ready().await?;
            ground.setup.migrate(&cluster.url()).await;
        }
        Ok(ground)
    }

    /// Starts the node if it is not at work; it is not ready yet.
    pub(crate) fn start_node(&mut self) -> anyhow::Result<()> {
        if self.node.is_none() {
            let mut command = self.setup.command(&self.data);
            command.env("STACKBELL_RETRY_SCHEDULE", RETRY_SCHEDULE);
            self.node = Some(Node::start(command, self.setup.token())?);
        }
        Ok(())
    }

    /// Starts the database if there is one that is not at work, and waits until it lets in.
    pub(crate) async fn start_database(&mut self) -> anyhow::Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        if !cluster.is_running() {
            cluster.start()?;
        }
        cluster.ready().await
    }

    /// Starts what is not at work, and waits until all of it is ready.
    ///
    /// # Errors
    /// When something has ended, or does not get ready.
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

    /// Whether a victim of its own can be chosen: there is a database.
    pub(crate) fn has_database(&self) -> bool {
        self.cluster.is_some()
    }

    /// Kills with SIGKILL, and has the disk lose what it then loses.
    pub(crate) async fn kill(&mut self, victim: Victim, loss: Loss) -> anyhow::Result<()> {
        if victim != Victim::Database {
            self.kill_node().await?;
        }
        if victim != Victim::Node
            && let Some(cluster) = &mut self.cluster
        {
            cluster.kill().await?;
        }
        // What is in use goes on.
        let is_in_use = match self.mode.store {
            Store::Sqlite => false,
            Store::Postgres => victim == Victim::Node,
        };
        match &mut self.place {
            Place::Own(disk) if !is_in_use => disk.lose_power(loss),
            Place::Own(_) | Place::Machine(_) => Ok(()),
        }
    }

    async fn kill_node(&mut self) -> anyhow::Result<()> {
        if let Some(node) = self.node.take() {
            self.logs.push_str(&node.kill().await?);
        }
        Ok(())
    }

    /// Fills the disk up.
    pub(crate) fn fill(&self, chance: &mut SeededEntropy) {
        if let Place::Own(disk) = &self.place {
            disk.fill((LEFT_MAX * chance.fraction()) as u64);
        }
    }

    /// Makes room on the disk again.
    pub(crate) fn make_room(&self) {
        if let Place::Own(disk) = &self.place {
            disk.make_room();
        }
    }

    /// How often there was no room on the disk for something.
    pub(crate) fn refused(&self) -> usize {
        match &self.place {
            Place::Own(disk) => disk.refused(),
            Place::Machine(_) => 0,
        }
    }

    /// Stops the node as an operator would, and then the database; all that nodes logged.
    pub(crate) async fn end(mut self) -> anyhow::Result<String> {
        if let Some(node) = self.node.take() {
            self.logs.push_str(&node.terminate().await?);
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.kill().await?;
        }
        Ok(std::mem::take(&mut self.logs))
    }

    /// Ends everything at once, and gives all that nodes logged.
    pub(crate) async fn abandon(mut self) -> anyhow::Result<String> {
        self.kill(Victim::All, Loss::Nothing).await?;
        Ok(std::mem::take(&mut self.logs))
    }
}

/// A database's files, and all of them on the disk.
async fn database(place: &mut Place) -> anyhow::Result<Cluster> {
    // The database is another user than we are.
    set_permissions(place.path(), Permissions::from_mode(0o777))?;
    let cluster = Cluster::make(place.path()).await?;
    if let Place::Own(disk) = place {
        disk.lose_power(Loss::Nothing)?;
    }
    Ok(cluster)
}

/// The last lines of a log: it may have one for each request.
fn end_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n")
}
