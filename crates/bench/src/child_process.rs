//! Child processes of the benchmark. Each runs this binary with its role as first argument, and reads commands line by line.

use std::process::Stdio;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A child process. It is killed when dropped, and ends by itself at the end of its standard input. It therefore never outlives
/// this process.
pub(crate) struct ChildProcess {
    part: &'static str,
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl ChildProcess {
    pub(crate) fn start(part: &'static str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(part)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {part}"))?;
        let orders = child.stdin.take().context("it is piped")?;
        let answers = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        Ok(Self { part, _child: child, orders, answers })
    }

    pub(crate) async fn order(&mut self, line: &str) -> anyhow::Result<()> {
        let line = format!("{line}\n");
        self.orders.write_all(line.as_bytes()).await.with_context(|| format!("{} is gone", self.part))
    }

    /// Reads the next line of the child's output as JSON.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.answers.next_line().await?;
        let line = line.with_context(|| format!("{} has ended, see above", self.part))?;
        serde_json::from_str(&line).with_context(|| format!("{} said {line}", self.part))
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, line: &str) -> anyhow::Result<T> {
        self.order(line).await?;
        self.answer().await
    }
}

/// The commands that a child process reads; `None` asks it to end.
pub(crate) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    pub(crate) fn new() -> Self {
        Self(BufReader::new(stdin()).lines())
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        Ok(self.0.next_line().await?)
    }
}
