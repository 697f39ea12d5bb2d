//! Starting a server.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::api::{ORGANIZATION, TOKEN};
use super::{Kept, Killed, ServerProcess};
use crate::client::{Request, exchange};
use crate::database::Databases;

/// The master key of all nodes on databases.
const MASTER_KEY: &str = "YSBrZXkgb2YgMzIgYnl0ZXMgZm9yIGJlbmNobWFya3M=";

const READY_WITHIN: Duration = Duration::from_secs(20);

/// The store of a server.
#[derive(Clone)]
pub(crate) enum Store {
    /// A file in its data folder.
    Embedded,
    /// A new, empty database for each server.
    Fresh(Databases),
    /// One database for all servers, which exists and is migrated.
    Shared(String),
}

/// The settings for starting a server.
#[derive(Clone)]
pub(crate) struct ServerSetup {
    binary: PathBuf,
    /// The folder for data folders.
    folder: PathBuf,
    store: Store,
}

impl ServerSetup {
    /// Uses the binary beside this program unless another is given.
    pub(crate) fn new(binary: Option<PathBuf>, folder: &Path, store: Store) -> anyhow::Result<Self> {
        let binary = match binary {
            Some(binary) => binary,
            None => std::env::current_exe()?.with_file_name("stackbell"),
        };
        ensure!(binary.exists(), "{} is not there: build it with cargo build --release", binary.display());
        Ok(Self { binary, folder: folder.to_owned(), store })
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the setup with another store.
    pub(crate) fn on(&self, store: Store) -> Self {
        Self { store, ..self.clone() }
    }

    /// Starts a server on an empty store, or on the shared one.
    pub(crate) async fn start(&self) -> anyhow::Result<ServerProcess> {
        Ok(self.start_timed().await?.0)
    }

    /// Starts a server, and measures the time until it is ready.
    pub(crate) async fn start_timed(&self) -> anyhow::Result<(ServerProcess, Duration)> {
        let data = tempfile::tempdir_in(&self.folder)?;
        let database = match &self.store {
            Store::Embedded => None,
            Store::Fresh(databases) => {
                let database = databases.create().await?;
                self.migrate(&database).await?;
                Some(database)
            }
            Store::Shared(database) => Some(database.clone()),
        };
        self.start_again(Kept { data, database }).await
    }

    /// Starts a server on the data that another one left.
    pub(crate) async fn start_again(&self, kept: Kept) -> anyhow::Result<(ServerProcess, Duration)> {
        // If another process takes the port before the server does, the start fails with an error.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["attached", &std::process::id().to_string()]).arg(&self.binary);
        command.args([
            "serve",
            "--listen",
            &address.to_string(),
            "--outbound-allow",
            "127.0.0.0/8",
            "--data",
        ]);
        command.arg(kept.data());
        settings(&mut command, kept.database.as_deref());
        let began = Instant::now();
        let child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let mut server = ServerProcess { child: Killed(child), address, kept };
        wait_until_ready(&mut server, began).await?;
        Ok((server, began.elapsed()))
    }

    /// Creates the tables.
    pub(crate) async fn migrate(&self, database: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.binary);
        command.arg("migrate").stdout(std::process::Stdio::null());
        settings(&mut command, Some(database));
        let status = command.status().await?;
        ensure!(status.success(), "migrating ended with {status}");
        Ok(())
    }
}

/// All settings are set here, because the caller's environment is not passed on.
fn settings(command: &mut Command, database: Option<&str>) {
    command
        .env_clear()
        .env("STACKBELL_LOG", "error")
        .env("STACKBELL_BOOTSTRAP_ORG", ORGANIZATION)
        .env("STACKBELL_BOOTSTRAP_TOKEN", TOKEN)
        // All producers share one token.
        .env("STACKBELL_REQUESTS_PER_SECOND", "0")
        // The limit is above the size of the backlog and of the deliveries added during the measurement.
        .env("STACKBELL_PENDING_DELIVERIES_MAX", "2000000");
    if let Some(database) = database {
        command.env("STACKBELL_STORE", database).env("STACKBELL_MASTER_KEY", MASTER_KEY);
    }
}

async fn wait_until_ready(server: &mut ServerProcess, began: Instant) -> anyhow::Result<()> {
    let ready = Request::get("/readyz");
    while exchange(server.address, &ready).await.is_err() {
        if let Some(status) = server.child.0.try_wait()? {
            bail!("the server ended with {status}");
        }
        ensure!(began.elapsed() < READY_WITHIN, "the server did not get ready");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
