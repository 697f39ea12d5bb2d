//! A throw-away PostgreSQL.
//!
//! Its folder is in memory where there is room, and goes with the test process, however that ends. It syncs as a server
//! would whose data is worth something; anybody on this machine may come in.

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

/// Everybody is this user, who may do anything.
const USER: &str = "postgres";

/// The database that is always there.
const MAINTENANCE: &str = "postgres";

/// How often another port is tried when somebody was quicker.
const PORTS_TRIED_MAX: u32 = 5;

/// Segments of the write-ahead log: many times what is written while a disk is full, and no more than `min_wal_size` keeps.
const LOG_SEGMENTS_KEPT: u32 = 2;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    lines: Vec<String>,
    /// In MiB.
    disk: Option<u32>,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        let settings = Self { lines: Vec::new(), disk: None };
        // A test process has many stores; what it wrote is not kept for long, as it may be in memory.
        settings
            .with("listen_addresses", "127.0.0.1")
            .with("max_connections", "200")
            .with("max_wal_size", "128MB")
    }
}

impl PostgresSettings {
    /// The same with one of PostgreSQL's settings.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} = '{value}'"));
        self
    }

    /// The same on a disk of its own of this size, in MiB, which [`Postgres::fill_disk`] fills.
    /// The server makes no room there while nobody asks it to.
    #[must_use]
    pub fn on_disk(self, size: u32) -> Self {
        let settings =
            self.with("autovacuum", "off").with("checkpoint_timeout", "1h").with("max_wal_size", "1GB");
        Self { disk: Some(size), ..settings }
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are ended, and all is written.
    Fast,
    /// As if it had crashed: it recovers when it is started again.
    Immediate,
}

/// What a server waits for before it answers a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// That the standby has it, too.
    Synchronous,
    /// Not for the standby.
    Asynchronous,
}

/// A server of its own. It is stopped, and its folder removed, when the last of its handles is dropped.
#[derive(Clone)]
pub struct Postgres(Arc<Server>);

struct Server {
    supervisor: Mutex<Supervisor>,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Databases that are there to be copied, by name. Held while one is copied, as nobody else may do so meanwhile.
    templates: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Server {
    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        // An order that failed panicked, and left it in order.
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
    /// The server that all tests of this process share, which the first of them starts.
    pub async fn shared() -> Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(PostgresSettings::default())).await.clone()
    }

    /// A server for the caller alone, who may stop it.
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

    /// Starts what is in a supervisor's folder, with settings that its port may be part of.
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

    /// The port that it listens at, on loopback.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.0.port, database)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.0.supervisor().log("server.log")
    }

    /// A new database with nothing in it.
    pub async fn database(&self) -> Database {
        self.copy_of("template1").await
    }

    /// A new database like the one that `fill` made of an empty one, whose URL it is given: once for each `template`, which
    /// is any name.
    pub async fn database_like<F: Future<Output = ()>>(
        &self,
        template: &str,
        fill: impl FnOnce(String) -> F,
    ) -> Database {
        let mut templates = self.0.templates.lock().await;
        if !templates.contains(template) {
            // What a fill left that failed before.
            self.psql(MAINTENANCE, &format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)")).await;
            self.psql(MAINTENANCE, &format!("CREATE DATABASE {template}")).await;
            fill(self.url(template)).await;
            // A database can be copied that nobody is connected to.
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

    /// What `psql` prints for SQL: a line for each row, with `|` between columns.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    /// The same.
    ///
    /// # Errors
    /// What `psql` says, when the server refused, or is not there.
    pub async fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let (server, database, sql) = (Arc::clone(&self.0), database.to_owned(), sql.to_owned());
        blocking(move || server.psql(&database, &sql)).await
    }

    /// Keeps some segments of the write-ahead log for what comes, as checkpoints do on a server that has been at work for a
    /// while. Without them a log without room is soon met, for which a server does not refuse but ends.
    pub async fn keep_log_ahead(&self) {
        for _ in 0..LOG_SEGMENTS_KEPT {
            // What nothing is written to is not left.
            self.psql(MAINTENANCE, "SELECT pg_logical_emit_message(false, '', '')").await;
            self.psql(MAINTENANCE, "SELECT pg_switch_wal()").await;
        }
        self.psql(MAINTENANCE, "CHECKPOINT").await;
        let ahead = "SELECT count(*) FROM pg_ls_waldir() WHERE name > pg_walfile_name(pg_current_wal_lsn())";
        let ahead: u32 = self.psql(MAINTENANCE, ahead).await.parse().expect("a number");
        assert!(ahead >= LOG_SEGMENTS_KEPT, "{ahead} segments are kept");
    }

    /// Takes all the room on its disk.
    ///
    /// # Panics
    /// When it has no disk of its own.
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

    /// Starts it after a stop, at the same port, and waits until it lets in.
    pub async fn start_again(&self) {
        self.order("start").await;
    }

    /// Stops and starts it.
    pub async fn restart(&self, how: Stop) {
        self.stop(how).await;
        self.start_again().await;
    }

    /// Another server that follows this one as its standby, and has all that this one has.
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

    /// Makes a standby a server of its own, which takes writes.
    pub async fn promote(&self) {
        self.order("promote").await;
    }

    async fn order(&self, order: &'static str) {
        let server = Arc::clone(&self.0);
        blocking(move || server.supervisor().order(order)).await;
    }
}

/// A database of its own, which is gone when this is dropped.
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

    /// The server that it is in.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// What `psql` prints for SQL: a line for each row, with `|` between columns. Blocks: for where nothing can be awaited.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.server.0.psql(&self.name, sql).unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Many tests' databases would fill the memory. With a server that was stopped, its own goes anyway.
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = self.server.0.psql(MAINTENANCE, &sql);
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/{database}")
}

/// Runs what waits for a process, so that a test's own tasks go on meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
