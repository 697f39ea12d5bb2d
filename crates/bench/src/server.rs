//! The server under test: its own process, on an empty folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::load::{Load, Request};
use crate::receiver::HOOK_PATH;

/// What all nodes of one database open its keys with.
const MASTER_KEY: &str = "YSBrZXkgb2YgMzIgYnl0ZXMgZm9yIGJlbmNobWFya3M=";

const TOKEN: &str = "the-benchmark's-own-token-of-loopback";
const ORGANIZATION: &str = "acme";

/// The server's process. Killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    address: SocketAddr,
    _data: TempDir,
}

/// One event of about a kilobyte.
pub(crate) fn event_body() -> Bytes {
    let payload = format!(
        r#"{{"projectName":"website","stackName":"website-prod","updateUrl":"https://app.example.com/acme/website/website-prod/updates/42","kind":"update","result":"succeeded","resourceChanges":{{"create":3,"same":28}},"isPreview":false,"note":"{}"}}"#,
        "0123456789".repeat(75)
    );
    Bytes::from(format!(r#"{{"kind":"stack_update","payload":{payload}}}"#))
}

/// How a server is started.
#[derive(Clone)]
pub(crate) struct ServerSetup {
    binary: PathBuf,
    /// The database's URL; `None` for the embedded store.
    database: Option<String>,
}

impl ServerSetup {
    /// The binary beside this one unless another is named, on the embedded store.
    pub(crate) fn new(binary: Option<PathBuf>) -> anyhow::Result<Self> {
        let binary = match binary {
            Some(binary) => binary,
            None => std::env::current_exe()?.with_file_name("stackbell"),
        };
        ensure!(binary.exists(), "{} is not there: build it with cargo build --release", binary.display());
        Ok(Self { binary, database: None })
    }

    /// The same on a PostgreSQL database, which is brought up to date.
    pub(crate) async fn on(&self, database: &str) -> anyhow::Result<Self> {
        let setup = Self { database: Some(database.to_owned()), ..self.clone() };
        let status = setup.command("migrate").stdout(std::process::Stdio::null()).status().await?;
        ensure!(status.success(), "migrating ended with {status}");
        Ok(setup)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(verb).env("STACKBELL_LOG", "warn");
        if let Some(database) = &self.database {
            command.env("STACKBELL_STORE", database).env("STACKBELL_MASTER_KEY", MASTER_KEY);
        }
        command
    }
}

impl ServerProcess {
    /// Starts the server with one webhook, which points at the receiver.
    pub(crate) async fn start(setup: &ServerSetup, receiver: SocketAddr) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        // The port may be taken by somebody else before the server takes it; then the start fails and says so.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = setup
            .command("serve")
            .args(["--listen", &address.to_string(), "--outbound-allow", "127.0.0.0/8", "--data"])
            .arg(data.path())
            // All producers share one token.
            .env("STACKBELL_REQUESTS_PER_SECOND", "0")
            .env("STACKBELL_BOOTSTRAP_ORG", ORGANIZATION)
            .env("STACKBELL_BOOTSTRAP_TOKEN", TOKEN)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", setup.binary.display()))?;
        let mut server = Self { child, address, _data: data };
        server.wait_until_ready().await?;
        server.register(receiver).await?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time of the server so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let id = self.child.id().context("the server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The second field is the name in parentheses; utime and stime are fields 14 and 15, in hundredths of a second.
        let after_name = stat.rsplit_once(')').context("the server's /proc/…/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks =
            |n: usize| -> anyhow::Result<u64> { Ok(fields.get(n).context("too few fields")?.parse()?) };
        Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    }

    /// Ends the server; whatever is left behind is an error.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has ended by itself")?;
        Command::new("kill").arg(id.to_string()).status().await?;
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server did not get ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn register(&self, receiver: SocketAddr) -> anyhow::Result<()> {
        let body = format!(
            r#"{{"organizationName":"{ORGANIZATION}","name":"bench","displayName":"bench","payloadUrl":"http://{receiver}{HOOK_PATH}","active":true,"secret":"a secret"}}"#
        );
        let request = request(format!("/api/orgs/{ORGANIZATION}/hooks"), Bytes::from(body), 201);
        // No time is enough for one request. Another node may have made it.
        let made = Load::run(&[self.address], request, 1, Duration::ZERO).await;
        match made {
            Err(error) if error.to_string().contains("answered 409") => Ok(()),
            made => made.map(|_| ()),
        }
    }
}

/// How events are published.
#[derive(Clone, Copy)]
pub(crate) enum Publishing {
    /// One in a request.
    Single,
    /// So many in a request, as NDJSON.
    Lines(usize),
}

impl Publishing {
    /// How many events a request has.
    pub(crate) fn events(self) -> u64 {
        match self {
            Self::Single => 1,
            Self::Lines(count) => count as u64,
        }
    }

    pub(crate) fn request(self) -> Request {
        let path = format!("/v1/orgs/{ORGANIZATION}/events");
        match self {
            Self::Single => request(path, event_body(), 202),
            Self::Lines(count) => {
                let line = [&event_body()[..], b"\n"].concat();
                let content_type = "application/x-ndjson";
                Request { content_type, ..request(path, Bytes::from(line.repeat(count)), 202) }
            }
        }
    }
}

fn request(path: String, body: Bytes, expected: u16) -> Request {
    Request { path, content_type: "application/json", token: Some(TOKEN.to_owned()), body, expected }
}
