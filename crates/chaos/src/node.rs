//! The binary as a process that will be killed.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stackbell_testkit::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The log message of a server that accepts requests.
const SERVES: &str = "stackbell serves";

/// The timeout until a node is ready. It is long, because a busy machine is no defect.
const READY_MAX: Duration = Duration::from_secs(60);

/// The timeout for the end of a node.
const END_MAX: Duration = Duration::from_secs(60);

/// The polling interval for readiness, for which there is no notification.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A running node. It is killed when dropped.
pub(crate) struct Node {
    child: Child,
    log: Arc<Log>,
    token: String,
    /// Ends with the process's standard error.
    reading: JoinSet<()>,
}

/// The reason why a node is not ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// The process has ended. Contains the node's log.
    Ended(String),
    /// The start took too long. Contains the node's log.
    Late(String),
}

struct Log {
    text: Mutex<String>,
    /// The node's address, once it has logged it.
    address: watch::Sender<Option<String>>,
}

impl Log {
    async fn read(self: Arc<Self>, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(SERVES) {
                self.address.send_replace(address(&line));
            }
            let mut text = self.text.lock().expect("nothing panics while it holds this");
            text.push_str(&line);
            text.push('\n');
        }
    }

    fn text(&self) -> String {
        self.text.lock().expect("nothing panics while it holds this").clone()
    }
}

fn address(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line["listen"].as_str()?.to_owned())
}

impl Node {
    /// Starts the process, without waiting for readiness.
    pub(crate) fn start(mut command: Command, token: &str) -> anyhow::Result<Self> {
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("starting the binary")?;
        let log = Arc::new(Log { text: Mutex::default(), address: watch::Sender::new(None) });
        let mut reading = JoinSet::new();
        reading.spawn(Arc::clone(&log).read(child.stderr.take().context("it is piped")?));
        Ok(Self { child, log, token: token.to_owned(), reading })
    }

    /// Waits until the node is ready, and returns a client for it.
    pub(crate) async fn ready(&mut self) -> Result<Client, NotReady> {
        let (log, token) = (Arc::clone(&self.log), self.token.clone());
        let is_ready = async {
            let mut address = log.address.subscribe();
            // The sender is in the log, which this future holds.
            let base = match address.wait_for(Option::is_some).await {
                Ok(address) => format!("http://{}", address.as_deref().unwrap_or_default()),
                Err(_) => return std::future::pending().await,
            };
            let client = Client::new(&base, &token);
            while !is_answered(&client).await {
                sleep(LOOK_EVERY).await;
            }
            client
        };
        let found = tokio::select! {
            ready = timeout(READY_MAX, is_ready) => ready.ok(),
            _ = self.child.wait() => {
                while self.reading.join_next().await.is_some() {}
                return Err(NotReady::Ended(self.log.text()));
            }
        };
        found.ok_or_else(|| NotReady::Late(self.log.text()))
    }

    /// Kills it with SIGKILL, and waits until it is gone. Returns its log.
    pub(crate) async fn kill(mut self) -> anyhow::Result<String> {
        // The process may have ended already.
        let _ = self.child.start_kill();
        self.ended().await
    }

    /// Sends SIGTERM, and waits until it is gone. Returns its log.
    ///
    /// # Errors
    /// If it does not exit successfully.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<String> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.context("the node has ended by itself")?, Signal::TERM)?;
        let log = self.ended().await?;
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "the node ended with {status}\n{log}");
        Ok(log)
    }

    async fn ended(&mut self) -> anyhow::Result<String> {
        timeout(END_MAX, self.child.wait()).await.context("the node does not end")??;
        while self.reading.join_next().await.is_some() {}
        Ok(self.log.text())
    }
}

async fn is_answered(client: &Client) -> bool {
    let asked = client.try_send(http::Method::GET, "/readyz", &[], bytes::Bytes::new());
    matches!(timeout(Duration::from_secs(2), asked).await, Ok(Ok(answer)) if answer.status == 200)
}
