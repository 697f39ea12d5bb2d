//! The built binary as a process.
//!
//! Its store is a file in its data folder, or a PostgreSQL database. A test can choose the database. With
//! `STACKBELL_TEST_STORE=postgres`, tests without a choice get a database of their own, so that they run on
//! both stores.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::Client;
use crate::postgres::{Database, Postgres};
use crate::wait::{self, DEADLINE};

/// The log message of a server that accepts requests.
const SERVES: &str = "stackbell serves";

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    binary: PathBuf,
    organization: String,
    token: String,
    outbound_allow: Vec<String>,
    arguments: Vec<String>,
    wrapper: Option<Wrapper>,
    store: Store,
}

/// The store of a server.
#[derive(Clone, Debug)]
enum Store {
    /// The default of the test run: see [`PLACE`].
    Any,
    /// A file in its data folder.
    Embedded,
    /// The database with this URL.
    Database(String),
}

/// The variable that sets the default store.
const PLACE: &str = "STACKBELL_TEST_STORE";

/// The master key of all servers on databases; such servers need a configured key.
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A command prefix for the server, made from its data folder.
type Wrapper = fn(&Path) -> Vec<OsString>;

impl ServerSetup {
    /// Sets up the binary at `path` with the organization `acme`, and allows deliveries to loopback.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            binary: path.into(),
            organization: "acme".to_owned(),
            token: "test-token-of-more-than-32-characters".to_owned(),
            outbound_allow: vec!["127.0.0.0/8".to_owned()],
            arguments: Vec::new(),
            wrapper: None,
            store: Store::Any,
        }
    }

    /// Always uses a file as the store, for tests of that file.
    #[must_use]
    pub fn embedded(self) -> Self {
        Self { store: Store::Embedded, ..self }
    }

    /// Uses the PostgreSQL database with this URL. Other servers may use it at the same time.
    #[must_use]
    pub fn store(self, url: &str) -> Self {
        Self { store: Store::Database(url.to_owned()), ..self }
    }

    /// Allows deliveries to public addresses only.
    #[must_use]
    pub fn without_allowance(self) -> Self {
        Self { outbound_allow: Vec::new(), ..self }
    }

    /// The token of the organization's admin.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Uses another organization.
    #[must_use]
    pub fn organization(self, name: &str) -> Self {
        Self { organization: name.to_owned(), ..self }
    }

    /// Adds a flag and its value.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Adds a command prefix, which `wrapper` makes from the data folder. Its program must replace itself with the server, as
    /// `env` does.
    #[must_use]
    pub fn behind(self, wrapper: fn(&Path) -> Vec<OsString>) -> Self {
        Self { wrapper: Some(wrapper), ..self }
    }

    /// Starts the server on an empty data folder, and waits until it is ready. A database is migrated first.
    pub async fn start(self) -> Server {
        self.start_on(tempfile::tempdir().expect("a temporary folder")).await
    }

    /// Starts the server on this data folder, and waits until it is ready.
    pub async fn start_on(mut self, folder: TempDir) -> Server {
        let database = match &self.store {
            Store::Any if is_on_postgres() => {
                let database = self.database().await;
                self.store = Store::Database(database.url());
                Some(database)
            }
            Store::Database(url) => {
                self.migrate(url).await;
                None
            }
            Store::Any | Store::Embedded => None,
        };
        let running = Running::start(&self, folder.path()).await;
        Server { setup: self, folder, running, earlier_logs: String::new(), _database: database }
    }

    /// Creates a database with the binary's tables, in the server that all tests of this process share.
    pub async fn database(&self) -> Database {
        let migrate = async |url: String| drop(self.migrate(&url).await);
        Postgres::shared().await.database_like("migrated_by_binary", migrate).await
    }

    /// Migrates the database with this URL, with the flags of the server. Returns the output.
    ///
    /// # Panics
    /// If the migration fails.
    pub async fn migrate(&self, url: &str) -> String {
        let mut command = Command::new(&self.binary);
        command.env_clear().arg("migrate").args(&self.arguments).env("STACKBELL_STORE", url);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Returns the command that serves the data folder `data`, without the environment of the test.
    pub fn command(&self, data: &Path) -> Command {
        let mut words = self.wrapper.map_or_else(Vec::new, |wrapper| wrapper(data)).into_iter();
        let mut command = match words.next() {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.env_clear().arg("serve").args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.arg("--data").arg(data).args(&self.arguments);
        for allowance in &self.outbound_allow {
            command.args(["--outbound-allow", allowance]);
        }
        if let Store::Database(url) = &self.store {
            command.env("STACKBELL_STORE", url).env("STACKBELL_MASTER_KEY", MASTER_KEY);
        }
        // The producers of a test share one token, so the rate limit is off. A flag overrides this variable.
        command.env("STACKBELL_REQUESTS_PER_SECOND", "0");
        command.env("STACKBELL_BOOTSTRAP_ORG", &self.organization);
        command.env("STACKBELL_BOOTSTRAP_TOKEN", &self.token);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// A running server. It is killed, and its data folder removed, when dropped.
pub struct Server {
    setup: ServerSetup,
    running: Running,
    folder: TempDir,
    earlier_logs: String,
    // Dropped after the process.
    _database: Option<Database>,
}

/// Whether tests without a choice run on databases.
#[expect(clippy::disallowed_methods, reason = "tests have one setting, and no configuration")]
fn is_on_postgres() -> bool {
    match std::env::var(PLACE) {
        Err(_) => false,
        Ok(place) => {
            assert_eq!(place, "postgres", "{PLACE} is postgres, or not set");
            true
        }
    }
}

/// One process.
struct Running {
    child: Child,
    log: Arc<Log>,
    address: SocketAddr,
    operations: Option<SocketAddr>,
    // Ends with the process's standard error.
    reading: JoinSet<()>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    changed: Notify,
}

impl Log {
    fn text(&self) -> String {
        self.text.lock().expect("nothing panics while it holds this").clone()
    }

    async fn read(self: Arc<Self>, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut text = self.text.lock().expect("nothing panics while it holds this");
            text.push_str(&line);
            text.push('\n');
            drop(text);
            self.changed.notify_waiters();
        }
    }
}

impl Running {
    async fn start(setup: &ServerSetup, data: &Path) -> Self {
        let mut child = setup.command(data).spawn().expect("the binary starts");
        let log = Arc::new(Log::default());
        let mut reading = JoinSet::new();
        let stderr = child.stderr.take().expect("it is piped");
        reading.spawn(Arc::clone(&log).read(stderr));
        let (address, operations) = tokio::select! {
            addresses = wait::told(&log.changed, || served_at(&log.text())) => {
                addresses.unwrap_or_else(|()| panic!("the server does not serve:\n{}", log.text()))
            }
            ended = child.wait() => panic!("the server ended ({ended:?}):\n{}", log.text()),
        };
        let client = Client::new(&format!("http://{}", operations.unwrap_or(address)), "");
        wait::until("readiness", || async { (client.get("/readyz").await.status == 200).then_some(()) })
            .await;
        Self { child, log, address, operations, reading }
    }

    async fn ended(mut self) -> (ExitStatus, String) {
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").expect("it was ours");
        while self.reading.join_next().await.is_some() {}
        (status, self.log.text())
    }
}

/// Returns the addresses in the log line about them: the main address, and the operations address if it is
/// separate.
fn served_at(log: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut serving = lines.filter(|line| line["message"] == SERVES);
    let line = serving.next()?;
    let address = |field: &str| line[field].as_str()?.parse().ok();
    Some((address("listen")?, address("ops_listen")))
}

impl Server {
    /// The address on which it listens; another one after a restart.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    /// The URL of operations if they have a separate address, without a slash at the end.
    pub fn operations_url(&self) -> Option<String> {
        self.running.operations.map(|address| format!("http://{address}"))
    }

    /// Its process id.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn process_id(&self) -> u32 {
        self.running.child.id().expect("nobody has waited for it")
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// A client with the admin's token.
    pub fn client(&self) -> Client {
        Client::new(&self.url(), &self.setup.token)
    }

    /// The admin's token.
    pub fn token(&self) -> &str {
        &self.setup.token
    }

    /// Its settings.
    pub fn setup(&self) -> &ServerSetup {
        &self.setup
    }

    /// Sets the settings for the next start.
    pub fn set_up(&mut self, setup: ServerSetup) {
        self.setup = setup;
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The server's log, including the log of earlier processes.
    pub fn log(&self) -> String {
        format!("{}{}", self.earlier_logs, self.running.log.text())
    }

    /// Checks that it logged no error and no panic.
    ///
    /// # Panics
    /// If it did.
    #[track_caller]
    pub fn assert_quiet(&self) {
        assert_quiet(&self.log());
    }

    /// Pauses the process at any point, like a machine that hangs, until [`Self::go_on`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes the process.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it with SIGKILL. Returns its whole log and its folder.
    pub async fn kill(self) -> (String, TempDir) {
        self.signal(Signal::KILL);
        let (_, log) = self.running.ended().await;
        (format!("{}{log}", self.earlier_logs), self.folder)
    }

    /// Kills it with SIGKILL and starts it again on the same folder.
    pub async fn kill_and_restart(&mut self) {
        self.kill_look_and_restart(|_| ()).await;
    }

    /// Like [`Self::kill_and_restart`], but calls `look` on the data folder before the restart.
    pub async fn kill_look_and_restart<T>(&mut self, look: impl FnOnce(&Path) -> T) -> T {
        self.signal(Signal::KILL);
        self.ended().await;
        let seen = look(self.data());
        self.start_again().await;
        seen
    }

    /// Sends SIGTERM. Returns its exit status, its whole log, and its folder.
    pub async fn terminate(self) -> (ExitStatus, String, TempDir) {
        self.signal(Signal::TERM);
        let (status, log) = self.running.ended().await;
        (status, format!("{}{log}", self.earlier_logs), self.folder)
    }

    /// Sends SIGTERM, checks that it exited successfully, and starts it again on the same folder.
    pub async fn terminate_and_restart(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        self.start_again().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Waits for the end of the process.
    async fn ended(&mut self) -> ExitStatus {
        let status =
            timeout(DEADLINE, self.running.child.wait()).await.expect("it ends").expect("it is ours");
        while self.running.reading.join_next().await.is_some() {}
        status
    }

    /// Starts the next process after the last one has ended.
    async fn start_again(&mut self) {
        self.earlier_logs.push_str(&self.running.log.text());
        self.running = Running::start(&self.setup, self.folder.path()).await;
    }

    fn signal(&self, signal: Signal) {
        send(&self.running.child, signal);
    }
}

/// Sends SIGTERM to a process that has not been waited for.
///
/// # Panics
/// If it has been waited for.
pub fn terminate(child: &Child) {
    send(child, Signal::TERM);
}

fn send(child: &Child, signal: Signal) {
    let id = child.id().expect("nobody has waited for it");
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is ours");
}

#[track_caller]
fn assert_quiet(log: &str) {
    let is_loud = |line: &&str| line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
    let loud: Vec<&str> = log.lines().filter(is_loud).collect();
    assert!(loud.is_empty(), "{}", loud.join("\n"));
}
