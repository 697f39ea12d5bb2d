//! A throw-away PostgreSQL.
//!
//! The server's folder is in memory if there is enough space. It is removed when the test process ends, for whatever reason. The
//! server syncs like a production server. Everybody on this machine can connect.

mod bouncer;
mod supervisor;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::disk::Ballast;
use crate::wait;
use supervisor::Supervisor;

pub use bouncer::PgBouncer;
pub use supervisor::{free_port, ordinary_user, postgres_programs};

/// The user of all connections, a superuser.
const USER: &str = "postgres";

/// A database that always exists.
const MAINTENANCE: &str = "postgres";

/// The number of attempts to find a port, because another process may take the port first.
const PORTS_TRIED_MAX: u32 = 5;

/// The number of segments of the write-ahead log to keep, within `min_wal_size`. They have many times the size of the log that is
/// written while a disk is full.
const LOG_SEGMENTS_KEPT: u32 = 2;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    lines: Vec<String>,
    /// The size in MiB.
    disk: Option<u32>,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        let settings = Self { lines: Vec::new(), disk: None };
        // A test process has many stores, so many connections are allowed. The log is kept small, because it may be in memory.
        settings
            .with("listen_addresses", "127.0.0.1")
            .with("max_connections", "200")
            .with("max_wal_size", "128MB")
    }
}

impl PostgresSettings {
    /// Adds one of PostgreSQL's settings.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} = '{value}'"));
        self
    }

    /// Puts the server on its own disk of this size in MiB, which [`Postgres::fill_disk`] fills.
    /// The server does not free space there by itself.
    #[must_use]
    pub fn on_disk(self, size: u32) -> Self {
        let settings =
            self.with("autovacuum", "off").with("checkpoint_timeout", "1h").with("max_wal_size", "1GB");
        Self { disk: Some(size), ..settings }
    }
}

/// The way in which a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are closed, and all data is written.
    Fast,
    /// Like a crash: the server recovers when it is started again.
    Immediate,
}

/// The condition for acknowledging a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// The standby has the commit, too.
    Synchronous,
    /// The standby is not waited for.
    Asynchronous,
}

/// A PostgreSQL server. It is stopped, and its folder removed, when its last handle is dropped.
#[derive(Clone)]
pub struct Postgres(Arc<Server>);

struct Server {
    supervisor: Mutex<Supervisor>,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Existing template databases, by name. The lock is held during a copy, because PostgreSQL allows one
    /// copy of a database at a time.
    templates: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Server {
    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        // A failed order panics, but leaves the supervisor in a valid state.
        self.supervisor.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        command.arg("--dbname").arg(url(self.port, database)).args(["--command", sql]);
        let output = command.env_clear().current_dir("/").output().expect("psql starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Postgres {
    /// The server that all tests of this process share. The first test starts it.
    pub async fn shared() -> Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(PostgresSettings::default())).await.clone()
    }

    /// Starts a server for the caller only, which may stop it.
    pub async fn start(settings: PostgresSettings) -> Self {
        blocking(move || {
            let programs = postgres_programs();
            let mut supervisor = match settings.disk {
                Some(size) => Supervisor::start_on_disk(&programs, size),
                None => Supervisor::start(&programs),
            };
            supervisor.order("initialize");
            for line in settings.lines {
                supervisor.order(&format!("set {line}"));
            }
            Self::begin(programs, supervisor, |_| Vec::new())
        })
        .await
    }

    /// Starts the server in a supervisor's folder. Its settings may depend on its port.
    fn begin(programs: PathBuf, mut supervisor: Supervisor, settings: impl Fn(u16) -> Vec<String>) -> Self {
        supervisor.order(&format!("set unix_socket_directories = '{}'", supervisor.folder().display()));
        let mut problem = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            let port = free_port();
            supervisor.order(&format!("set port = {port}"));
            for line in settings(port) {
                supervisor.order(&format!("set {line}"));
            }
            match supervisor.try_order("start") {
                Ok(()) => {
                    return Self(Arc::new(Server {
                        supervisor: Mutex::new(supervisor),
                        programs,
                        port,
                        databases: AtomicU32::new(0),
                        templates: tokio::sync::Mutex::default(),
                    }));
                }
                Err(logs) => problem = logs,
            }
        }
        panic!("{problem}");
    }

    /// The port on which it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.0.port, database)
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        self.0.supervisor().log("server.log")
    }

    /// Creates an empty database.
    pub async fn database(&self) -> Database {
        self.copy_of("template1").await
    }

    /// Creates a copy of a template database. `fill` gets the URL of an empty database and fills it, once for
    /// each `template`, which is any name.
    pub async fn database_like<F: Future<Output = ()>>(
        &self,
        template: &str,
        fill: impl FnOnce(String) -> F,
    ) -> Database {
        let mut templates = self.0.templates.lock().await;
        if !templates.contains(template) {
            // A failed fill may have left the database behind.
            self.psql(MAINTENANCE, &format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)")).await;
            self.psql(MAINTENANCE, &format!("CREATE DATABASE {template}")).await;
            fill(self.url(template)).await;
            // PostgreSQL copies only databases without connections.
            self.psql(MAINTENANCE, &format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")).await;
            templates.insert(template.to_owned());
        }
        drop(templates);
        self.copy_of(template).await
    }

    async fn copy_of(&self, template: &str) -> Database {
        let name = format!("test_{}", self.0.databases.fetch_add(1, Ordering::Relaxed));
        let one_at_a_time = self.0.templates.lock().await;
        self.psql(MAINTENANCE, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        drop(one_at_a_time);
        Database { server: self.clone(), name }
    }

    /// Returns the output of `psql`: a line for each row, with `|` between columns.
    ///
    /// # Panics
    /// If the server rejects the SQL.
    pub async fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    /// Returns the output of `psql`: a line for each row, with `|` between columns.
    ///
    /// # Errors
    /// The message of `psql`, if the server rejected the SQL or is down.
    pub async fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let (server, database, sql) = (Arc::clone(&self.0), database.to_owned(), sql.to_owned());
        blocking(move || server.psql(&database, &sql)).await
    }

    /// Creates spare segments of the write-ahead log, as checkpoints do on a server that has run for a while.
    /// Without them the log soon has no space, and then the server stops instead of returning errors.
    pub async fn keep_log_ahead(&self) {
        for _ in 0..LOG_SEGMENTS_KEPT {
            // PostgreSQL does not switch an unused segment.
            self.psql(MAINTENANCE, "SELECT pg_logical_emit_message(false, '', '')").await;
            self.psql(MAINTENANCE, "SELECT pg_switch_wal()").await;
        }
        self.psql(MAINTENANCE, "CHECKPOINT").await;
        let ahead = "SELECT count(*) FROM pg_ls_waldir() WHERE name > pg_walfile_name(pg_current_wal_lsn())";
        let ahead: u32 = self.psql(MAINTENANCE, ahead).await.parse().expect("a number");
        assert!(ahead >= LOG_SEGMENTS_KEPT, "{ahead} segments are kept");
    }

    /// Fills its disk.
    ///
    /// # Panics
    /// If it has no disk of its own.
    pub async fn fill_disk(&self) -> Ballast {
        let server = Arc::clone(&self.0);
        blocking(move || server.supervisor().fill_disk()).await
    }

    /// Stops it.
    pub async fn stop(&self, how: Stop) {
        match how {
            Stop::Fast => self.order("stop fast").await,
            Stop::Immediate => self.order("stop immediate").await,
        }
    }

    /// Starts the server after a stop, on the same port, and waits until it accepts connections.
    pub async fn start_again(&self) {
        self.order("start").await;
    }

    /// Stops and starts it.
    pub async fn restart(&self, how: Stop) {
        self.stop(how).await;
        self.start_again().await;
    }

    /// Starts a standby of this server, with a copy of all its data.
    pub async fn standby(&self, replication: Replication) -> Self {
        let primary = self.clone();
        let standby = blocking(move || {
            let programs = primary.0.programs.clone();
            let mut supervisor = Supervisor::start(&programs);
            let name = format!("of_{}", supervisor.process_id());
            supervisor.order(&format!("copy {} {name}", primary.0.port));
            Self::begin(programs, supervisor, |port| vec![format!("cluster_name = 'standby_{port}'")])
        })
        .await;
        let name = format!("standby_{}", standby.0.port);
        self.wait_for_standby(&format!("application_name = '{name}' AND state = 'streaming'")).await;
        if replication == Replication::Synchronous {
            let names = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
            self.psql(MAINTENANCE, &names).await;
            self.psql(MAINTENANCE, "SELECT pg_reload_conf()").await;
            self.wait_for_standby(&format!("application_name = '{name}' AND sync_state = 'sync'")).await;
        }
        standby
    }

    async fn wait_for_standby(&self, condition: &str) {
        let sql = format!("SELECT count(*) FROM pg_stat_replication WHERE {condition}");
        wait::until(condition, || async { (self.psql(MAINTENANCE, &sql).await == "1").then_some(()) }).await;
    }

    /// Promotes a standby to a primary, which accepts writes.
    pub async fn promote(&self) {
        self.order("promote").await;
    }

    async fn order(&self, order: &'static str) {
        let server = Arc::clone(&self.0);
        blocking(move || server.supervisor().order(order)).await;
    }
}

/// A database, which is dropped with this value.
pub struct Database {
    server: Postgres,
    name: String,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The server that holds it.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// Returns the output of `psql`: a line for each row, with `|` between columns. It blocks, for callers
    /// that cannot await.
    ///
    /// # Panics
    /// If the server rejects the SQL.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.server.0.psql(&self.name, sql).unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The database is dropped, because those of many tests would fill the memory. A stopped server's databases are removed
        // with its folder.
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = self.server.0.psql(MAINTENANCE, &sql);
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/{database}")
}

/// Runs blocking work on another thread, so that the test's own tasks continue.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
