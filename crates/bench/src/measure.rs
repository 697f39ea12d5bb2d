//! One measurement, of the receiver alone or of servers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use crate::client::Request;
use crate::load::{self, LoadProcess, Order, Pattern};
use crate::receiver::Receiver;
use crate::server::{Publishing, ServerProcess, Statistics, event};

/// The rate of requests per second of a minimal client with the receiver.
pub(crate) async fn raw(receiver: &Receiver, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let request = Request::post("/raw", event(), 200);
    let to = receiver.addresses().to_vec();
    let sent = load::send(&Order { to, request, connections, pattern: Pattern::For(time) }).await?;
    Ok(sent.answered as f64 / sent.took.as_secs_f64())
}

/// A measurement of servers that share a store.
pub(crate) struct Measurement<'a> {
    pub(crate) servers: &'a [ServerProcess],
    pub(crate) publishing: Publishing,
    /// The number of webhooks that receive each event.
    pub(crate) webhooks: u64,
    pub(crate) connections: usize,
    pub(crate) pattern: Pattern,
}

/// The results of all servers together.
pub(crate) struct Served {
    pub(crate) events: u64,
    /// The rate of accepted events while events were sent.
    pub(crate) accepted_per_second: f64,
    /// The rate of deliveries from the first request until the last success was recorded on disk.
    pub(crate) recorded_per_second: f64,
    /// The CPU time of the servers in that time.
    pub(crate) cpu_seconds_per_thousand: f64,
}

impl Measurement<'_> {
    /// Publishes, and waits until every delivery has arrived at the receiver and is recorded.
    ///
    /// # Errors
    /// If a delivery is missing, duplicated or still pending, or if the servers' own counts differ.
    pub(crate) async fn run(&self, receiver: &mut Receiver) -> anyhow::Result<Served> {
        let first = self.servers.first().context("a server")?;
        let to: Vec<SocketAddr> = self.servers.iter().map(ServerProcess::address).collect();
        let request = self.publishing.request();
        let order = Order { to, request, connections: self.connections, pattern: self.pattern };
        let load = LoadProcess::connect(&order).await?;
        let (before, received_before, recorded_before) =
            (first.statistics().await?, receiver.count().await?, self.recorded().await?);
        let cpu_before = self.cpu()?;
        let began = Instant::now();
        let sent = load.run().await?;
        let events = sent.answered * self.publishing.events();
        let deliveries = events * self.webhooks;
        receiver.wait_for(received_before + deliveries).await?;
        self.wait_until_recorded(recorded_before + deliveries).await?;
        let took = began.elapsed();
        let cpu = self.cpu()?.saturating_sub(cpu_before);
        let received = receiver.count().await? - received_before;
        ensure!(received == deliveries, "{received} deliveries came instead of {deliveries}");
        check_statistics(before, first.statistics().await?, events, deliveries)?;
        Ok(Served {
            events,
            accepted_per_second: events as f64 / sent.took.as_secs_f64(),
            recorded_per_second: deliveries as f64 / took.as_secs_f64(),
            cpu_seconds_per_thousand: cpu.as_secs_f64() * 1000.0 / deliveries as f64,
        })
    }

    async fn wait_until_recorded(&self, wanted: u64) -> anyhow::Result<()> {
        const WITHIN: Duration = Duration::from_secs(60);
        let began = Instant::now();
        loop {
            let recorded = self.recorded().await?;
            if recorded >= wanted {
                return Ok(());
            }
            ensure!(
                began.elapsed() < WITHIN,
                "{recorded} of {wanted} deliveries are recorded a minute after they came"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn recorded(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for server in self.servers {
            sum += server.succeeded().await?;
        }
        Ok(sum)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.servers.iter().map(ServerProcess::cpu).sum()
    }
}

fn check_statistics(
    before: Statistics,
    after: Statistics,
    events: u64,
    deliveries: u64,
) -> anyhow::Result<()> {
    let expected = Statistics {
        events: before.events + events,
        made: before.made + deliveries,
        succeeded: before.succeeded + deliveries,
        pending: 0,
    };
    ensure!(after == expected, "the server counts {after:?} instead of {expected:?}");
    Ok(())
}
