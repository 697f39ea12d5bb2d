//! A PostgreSQL server that is killed with all its processes.
//!
//! The processes are in their own PID namespace, so one signal ends them all. Once the first process is gone, all others are gone
//! too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use stackbell_testkit::{free_port, ordinary_user, postgres_programs};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The timeout until the server accepts connections. A recovery reads the whole log since the last
/// checkpoint.
const READY_MAX: Duration = Duration::from_secs(120);

/// The polling interval for readiness, for which there is no notification.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The server syncs and checkpoints often, so that a loss of power interrupts more of this work.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
shared_buffers = '16MB'
min_wal_size = '32MB'
max_wal_size = '64MB'
checkpoint_timeout = '30s'
";

/// A server that runs or was killed. It is killed when dropped.
pub(crate) struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    running: Option<Running>,
}

/// Its processes.
struct Running {
    /// The process that made the namespace and waits for the first process in it.
    outer: Child,
}

impl Cluster {
    /// Creates a server's files in this folder, to which everybody may write. Nothing is synced, and nothing
    /// is started.
    pub(crate) async fn make(folder: &Path) -> anyhow::Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "PostgreSQL's processes are put into a namespace of their own, which takes root"
        );
        let (programs, data) = (postgres_programs(), folder.join("postgres"));
        let mut initdb = Command::from(ordinary_user());
        initdb.arg(programs.join("initdb")).arg("--pgdata").arg(&data);
        initdb.args(["--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8"]);
        // Segments are small. The files are in memory, and large segments would be mostly empty.
        initdb.args(["--locale", "C.UTF-8", "--wal-segsize", "4"]);
        let made = initdb.env_clear().current_dir("/").stdin(Stdio::null()).output().await?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let settings = data.join("postgresql.conf");
        let text = fs::read_to_string(&settings)?;
        fs::write(&settings, format!("{text}\n{SETTINGS}port = {port}\n"))?;
        Ok(Self { programs, data, port, running: None })
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Whether it was started and has not been seen to end.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it. It may not accept connections yet.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let user = ordinary_user();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--"]).arg(user.get_program()).args(user.get_args());
        command.arg(self.programs.join("postgres")).arg("-D").arg(&self.data);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.running = Some(Running { outer: command.spawn().context("starting PostgreSQL")? });
        Ok(())
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// If it has ended, or is not ready in time.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + READY_MAX;
        loop {
            let mut asking = Command::new(self.programs.join("pg_isready"));
            asking.args(["--quiet", "--host=127.0.0.1", "--username=postgres", "--port"]);
            if asking.arg(self.port.to_string()).env_clear().status().await?.success() {
                return Ok(());
            }
            let running = self.running.as_mut().context("PostgreSQL was not started")?;
            if let Some(status) = running.outer.try_wait()? {
                self.running = None;
                anyhow::bail!("PostgreSQL ended with {status}");
            }
            ensure!(Instant::now() < until, "PostgreSQL lets nobody in");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Kills all its processes with SIGKILL, and waits until they are gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        while running.outer.try_wait()?.is_none() && !running.signal() {
            // The first process does not exist yet.
            sleep(LOOK_EVERY).await;
        }
        running.outer.wait().await?;
        Ok(())
    }
}

impl Running {
    /// Kills the first process in the namespace, and with it all others. Returns false if it does not exist.
    fn signal(&self) -> bool {
        let Some(outer) = self.outer.id() else { return false };
        let inner = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap_or_default();
        let inner = inner.split_whitespace().next().and_then(|id| Pid::from_raw(id.parse().ok()?));
        inner.is_some_and(|inner| kill_process(inner, Signal::KILL).is_ok())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal();
    }
}
