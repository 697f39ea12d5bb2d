//! Nodes on one PostgreSQL beside the embedded store, all in one run, by turns.

use std::time::Duration;

use anyhow::ensure;

use crate::measure::{measure, median, raw};
use crate::receiver::ReceiverProcess;
use crate::server::{Publishing, ServerProcess, ServerSetup};

/// Events in a request of NDJSON.
const LINES: usize = 200;
/// Requests of NDJSON that are under way at a time: more lines than this would be more than a webhook may have waiting.
const LINES_CONNECTIONS: usize = 8;

/// A setup that is measured, and what came of it so far.
struct Contestant {
    name: String,
    nodes: usize,
    setup: ServerSetup,
    publishing: Publishing,
    delivered: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures each setup once in each round.
pub(crate) async fn compare(
    database: &str,
    nodes_max: usize,
    connections: usize,
    time: Duration,
    rounds: usize,
    setup: &ServerSetup,
) -> anyhow::Result<()> {
    ensure!(rounds > 0 && nodes_max > 0, "--rounds and --nodes must be at least 1");
    let receiver = ReceiverProcess::start().await?;
    let mut contestants = contestants(setup, &setup.on(database).await?, nodes_max);
    let mut raws = Vec::new();
    for round in 1..=rounds {
        let raw = raw(receiver.address(), connections, time).await?;
        println!("round {round}: raw {raw:.0} exchanges/s");
        raws.push(raw);
        for contestant in &mut contestants {
            contestant.measure(&receiver, connections, time).await?;
        }
    }
    let raw = median(raws);
    println!("\n{:<34} {:>12} {:>9} {:>22}", "medians", "delivered/s", "of raw", "CPU s for 1,000 (nodes)");
    for Contestant { name, delivered, cpu, .. } in contestants {
        let (delivered, cpu) = (median(delivered), median(cpu));
        println!("{name:<34} {delivered:>12.0} {:>7.1} % {cpu:>22.3}", 100.0 * delivered / raw);
    }
    println!("{:<34} {raw:>12.0}", "raw");
    Ok(())
}

fn contestants(embedded: &ServerSetup, shared: &ServerSetup, nodes_max: usize) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for (how, publishing) in [("single POST", Publishing::Single), ("NDJSON", Publishing::Lines(LINES))] {
        let mut add = |name: String, nodes, setup: &ServerSetup| {
            let setup = setup.clone();
            let (delivered, cpu) = (Vec::new(), Vec::new());
            contestants.push(Contestant { name, nodes, setup, publishing, delivered, cpu });
        };
        add(format!("embedded, {how}"), 1, embedded);
        for nodes in 1..=nodes_max {
            add(format!("PostgreSQL, {nodes} nodes, {how}"), nodes, shared);
        }
    }
    contestants
}

impl Contestant {
    async fn measure(
        &mut self,
        receiver: &ReceiverProcess,
        connections: usize,
        time: Duration,
    ) -> anyhow::Result<()> {
        let connections = match self.publishing {
            Publishing::Single => connections,
            Publishing::Lines(_) => connections.min(LINES_CONNECTIONS),
        };
        let mut servers = Vec::new();
        for _ in 0..self.nodes {
            servers.push(ServerProcess::start(&self.setup, receiver.address()).await?);
        }
        // Endpoints and nodes get to know each other.
        measure(&servers, receiver, self.publishing, connections, Duration::from_secs(1)).await?;
        let served = measure(&servers, receiver, self.publishing, connections, time).await?;
        println!(
            "  {}: accepted {:.0}/s, delivered {:.0}/s, {:.3} CPU s for 1,000 deliveries",
            self.name,
            served.accepted_per_second,
            served.delivered_per_second,
            served.cpu_seconds_per_thousand
        );
        self.delivered.push(served.delivered_per_second);
        self.cpu.push(served.cpu_seconds_per_thousand);
        for server in servers {
            server.stop().await?;
        }
        Ok(())
    }
}
