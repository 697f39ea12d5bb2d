//! One measurement, of the receiver alone or of servers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use crate::load::{Load, Request};
use crate::receiver::ReceiverProcess;
use crate::server::{Publishing, ServerProcess, event_body};

/// What came of a measurement of servers, all of them together.
pub(crate) struct Served {
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    pub(crate) cpu_seconds_per_thousand: f64,
}

/// Exchanges a second of a bare client with the receiver.
pub(crate) async fn raw(receiver: SocketAddr, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let request = Request {
        path: "/raw".to_owned(),
        content_type: "application/json",
        token: None,
        body: event_body(),
        expected: 200,
    };
    let load = Load::run(&[receiver], request, connections, time).await?;
    Ok(load.answered as f64 / load.took.as_secs_f64())
}

/// Publishes for `time`, and waits until all of it has come to the receiver.
pub(crate) async fn measure(
    servers: &[ServerProcess],
    receiver: &ReceiverProcess,
    publishing: Publishing,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Served> {
    let addresses: Vec<SocketAddr> = servers.iter().map(ServerProcess::address).collect();
    let before = receiver.delivered().await?;
    let cpu_before = cpu(servers)?;
    let began = Instant::now();
    let load = Load::run(&addresses, publishing.request(), connections, time).await?;
    let events = load.answered * publishing.events();
    let wanted = before + events;
    let deadline = Instant::now() + Duration::from_secs(120);
    while receiver.delivered().await? < wanted {
        ensure!(Instant::now() < deadline, "deliveries are missing at the receiver after two minutes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed();
    let cpu = cpu(servers)?.checked_sub(cpu_before).context("CPU time went backwards")?;
    Ok(Served {
        accepted_per_second: events as f64 / load.took.as_secs_f64(),
        delivered_per_second: events as f64 / took.as_secs_f64(),
        cpu_seconds_per_thousand: cpu.as_secs_f64() * 1000.0 / events as f64,
    })
}

fn cpu(servers: &[ServerProcess]) -> anyhow::Result<Duration> {
    servers.iter().map(ServerProcess::cpu).sum()
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
