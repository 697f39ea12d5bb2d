//! The benchmark.
//!
//! Receiver, load and server are processes of their own, on one machine, over loopback. Every figure is printed beside what a bare
//! client reaches against the same receiver in the same run, because the machine decides most of it.

mod load;
mod measure;
mod nodes;
mod receiver;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Parser, Subcommand};

use measure::{measure, median, raw};
use receiver::ReceiverProcess;
use server::{Publishing, ServerProcess, ServerSetup};

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
    /// One, two and three nodes on one PostgreSQL, beside the embedded store: events posted one each, and as NDJSON.
    Nodes {
        /// An empty PostgreSQL database; what is in it is lost.
        #[arg(long, env = "STACKBELL_BENCH_DATABASE")]
        database: String,
        /// The most nodes.
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// Connections of the load, over all nodes.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// How long each measurement lasts.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// Rounds of measurements, each setup once in each.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
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
            single_post(connections, Duration::from_secs(seconds), pairs, ServerSetup::new(server)?).await
        }
        Scenario::Nodes { database, nodes, connections, seconds, rounds, server } => {
            let (time, setup) = (Duration::from_secs(seconds), ServerSetup::new(server)?);
            nodes::compare(&database, nodes, connections, time, rounds, &setup).await
        }
        Scenario::Receive => receiver::receive().await,
    }
}

async fn single_post(
    connections: usize,
    time: Duration,
    pairs: usize,
    setup: ServerSetup,
) -> anyhow::Result<()> {
    ensure!(pairs > 0, "--pairs must be at least 1");
    let receiver = ReceiverProcess::start().await?;
    let server = ServerProcess::start(&setup, receiver.address()).await?;
    let servers = std::slice::from_ref(&server);
    let mut raws = Vec::new();
    let mut served = Vec::new();
    for pair in 1..=pairs {
        let raw = raw(receiver.address(), connections, time).await?;
        let figures = measure(servers, &receiver, Publishing::Single, connections, time).await?;
        println!(
            "pair {pair}: raw {raw:.0} exchanges/s; accepted {:.0}/s, delivered {:.0}/s, {:.3} CPU s for 1,000 deliveries",
            figures.accepted_per_second, figures.delivered_per_second, figures.cpu_seconds_per_thousand
        );
        raws.push(raw);
        served.push(figures.delivered_per_second);
    }
    let (raw, delivered) = (median(raws), median(served));
    println!("median: raw {raw:.0}/s, delivered {delivered:.0}/s, ratio {:.1} %", 100.0 * delivered / raw);
    server.stop().await
}
