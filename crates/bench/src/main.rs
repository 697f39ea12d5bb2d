//! The benchmark.
//!
//! Receiver, load and server are processes of their own, on one machine, over loopback. Every figure is printed beside what a bare
//! client reaches against the same receiver in the same run, because the machine decides most of it.

mod load;
mod receiver;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use tokio::time::Instant;

use load::{Load, Request};
use receiver::ReceiverProcess;
use server::ServerProcess;

/// Measures Stackbell on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Events posted one each, accepted, delivered to one endpoint and recorded, beside the raw rate.
    SinglePost {
        /// Connections of the load.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// How long each measurement lasts.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Pairs of measurements, raw and served by turns.
        #[arg(long, default_value_t = 3)]
        pairs: usize,
        /// The server's binary; the one beside this by default.
        #[arg(long)]
        server: Option<PathBuf>,
    },
    /// The receiver: counts what comes. The scenarios start it by themselves.
    #[command(hide = true)]
    Receive,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().scenario {
        Scenario::SinglePost { connections, seconds, pairs, server } => {
            single_post(connections, Duration::from_secs(seconds), pairs, server).await
        }
        Scenario::Receive => receiver::receive().await,
    }
}

/// One measurement of the server.
struct Served {
    accepted_per_second: f64,
    delivered_per_second: f64,
    cpu_seconds_per_thousand: f64,
}

async fn single_post(
    connections: usize,
    time: Duration,
    pairs: usize,
    server: Option<PathBuf>,
) -> anyhow::Result<()> {
    ensure!(pairs > 0, "--pairs must be at least 1");
    let receiver = ReceiverProcess::start().await?;
    let server = ServerProcess::start(server, receiver.address()).await?;
    let mut raws = Vec::new();
    let mut served = Vec::new();
    for pair in 1..=pairs {
        let raw = raw(receiver.address(), connections, time).await?;
        let figures = measure(&server, &receiver, connections, time).await?;
        println!(
            "pair {pair}: raw {raw:.0} exchanges/s; accepted {:.0}/s, delivered {:.0}/s, {:.3} CPU s for 1,000 deliveries",
            figures.accepted_per_second, figures.delivered_per_second, figures.cpu_seconds_per_thousand
        );
        raws.push(raw);
        served.push(figures);
    }
    let raw = median(raws);
    let delivered = median(served.iter().map(|figures| figures.delivered_per_second).collect());
    println!("median: raw {raw:.0}/s, delivered {delivered:.0}/s, ratio {:.1} %", 100.0 * delivered / raw);
    server.stop().await
}

async fn raw(receiver: SocketAddr, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let request = Request { path: "/raw".to_owned(), token: None, body: server::event_body(), expected: 200 };
    let load = Load::run(receiver, request, connections, time).await?;
    Ok(load.answered as f64 / load.took.as_secs_f64())
}

async fn measure(
    server: &ServerProcess,
    receiver: &ReceiverProcess,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Served> {
    let before = receiver.delivered().await?;
    let cpu_before = server.cpu()?;
    let began = Instant::now();
    let load = Load::run(server.address(), server.publish_request(), connections, time).await?;
    let wanted = before + load.answered;
    let deadline = Instant::now() + Duration::from_secs(60);
    while receiver.delivered().await? < wanted {
        ensure!(Instant::now() < deadline, "deliveries are missing at the receiver after a minute");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed();
    let cpu = server.cpu()?.checked_sub(cpu_before).context("CPU time went backwards")?;
    Ok(Served {
        accepted_per_second: load.answered as f64 / load.took.as_secs_f64(),
        delivered_per_second: load.answered as f64 / took.as_secs_f64(),
        cpu_seconds_per_thousand: cpu.as_secs_f64() * 1000.0 / load.answered as f64,
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
