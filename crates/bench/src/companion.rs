//! The benchmark's own processes: started with their part as the first argument, told what to do by lines.

use std::process::Stdio;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Such a process. Killed when dropped; it also ends by itself with the end of its standard input, and so with this
/// process however that ends.
pub(crate) struct Companion {
    part: &'static str,
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Companion {
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

    /// The next line that it says, as JSON.
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

/// The orders that such a process gets; `None` means that it is to end.
pub(crate) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    pub(crate) fn new() -> Self {
        Self(BufReader::new(stdin()).lines())
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        Ok(self.0.next_line().await?)
    }
}
