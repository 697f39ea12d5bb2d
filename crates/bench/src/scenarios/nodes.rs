//! Several nodes on one PostgreSQL compared with the embedded store, in alternating measurements of one run.

use std::time::Duration;

use anyhow::ensure;

use super::ndjson;
use super::throughput::{Throughput, endpoints};
use crate::database::Databases;
use crate::load::Pattern;
use crate::measure::{Measurement, raw};
use crate::receiver::Receiver;
use crate::report::Spread;
use crate::server::{Publishing, ServerSetup, Store};

/// The settings of the comparison.
pub(crate) struct NodesOrder {
    pub(crate) databases: Databases,
    /// The maximum number of nodes.
    pub(crate) nodes: usize,
    pub(crate) time: Duration,
    /// The number of rounds. Each setup is measured once per round.
    pub(crate) rounds: usize,
}

/// A setup, and its results so far.
struct Contestant {
    name: String,
    nodes: usize,
    is_embedded: bool,
    publishing: Publishing,
    recorded: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures each setup once in each round.
pub(crate) async fn compare(setup: &ServerSetup, order: &NodesOrder) -> anyhow::Result<()> {
    ensure!(order.rounds > 0 && order.nodes > 0, "--rounds and --nodes must be at least 1");
    let mut receiver = Receiver::start(1).await?;
    let mut contestants = contestants(order.nodes);
    let mut raws = Vec::new();
    for round in 1..=order.rounds {
        let raw = raw(&receiver, Throughput::ALL_CONNECTIONS, order.time).await?;
        println!("round {round}: raw {raw:.0} exchanges/s");
        raws.push(raw);
        for contestant in &mut contestants {
            contestant.measure(&mut receiver, setup, order).await?;
        }
    }
    let raw = Spread::of(&raws)?.median;
    println!("\n{:<34} {:>12} {:>9} {:>22}", "medians", "recorded/s", "of raw", "CPU s for 1,000 (nodes)");
    for Contestant { name, recorded, cpu, .. } in contestants {
        let (recorded, cpu) = (Spread::of(&recorded)?.median, Spread::of(&cpu)?.median);
        println!("{name:<34} {recorded:>12.0} {:>7.1} % {cpu:>22.3}", 100.0 * recorded / raw);
    }
    println!("{:<34} {raw:>12.0}", "raw");
    Ok(())
}

fn contestants(nodes_max: usize) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for (how, publishing) in
        [("single POST", Publishing::Single), ("NDJSON", Publishing::Lines(ndjson::LINES))]
    {
        let mut add = |name: String, nodes, is_embedded| {
            let (recorded, cpu) = (Vec::new(), Vec::new());
            contestants.push(Contestant { name, nodes, is_embedded, publishing, recorded, cpu });
        };
        add(format!("embedded, {how}"), 1, true);
        for nodes in 1..=nodes_max {
            add(format!("PostgreSQL, {nodes} nodes, {how}"), nodes, false);
        }
    }
    contestants
}

impl Contestant {
    async fn measure(
        &mut self,
        receiver: &mut Receiver,
        setup: &ServerSetup,
        order: &NodesOrder,
    ) -> anyhow::Result<()> {
        let setup = setup.on(if self.is_embedded {
            Store::Embedded
        } else {
            let database = order.databases.create().await?;
            setup.migrate(&database).await?;
            Store::Shared(database)
        });
        let mut servers = Vec::new();
        for _ in 0..self.nodes {
            let server = setup.start().await?;
            server.register(&endpoints(receiver)).await?;
            servers.push(server);
        }
        let measurement = |time| Measurement {
            servers: &servers,
            publishing: self.publishing,
            webhooks: 1,
            connections: match self.publishing {
                Publishing::Single => Throughput::ALL_CONNECTIONS,
                Publishing::Lines(_) => ndjson::CONNECTIONS,
            },
            pattern: Pattern::For(time),
        };
        // Warm-up: the nodes learn how fast the endpoints are.
        measurement(Duration::from_secs(1)).run(receiver).await?;
        let served = measurement(order.time).run(receiver).await?;
        println!(
            "  {}: {:.0} events/s accepted, {:.0} deliveries/s recorded, {:.3} CPU s for 1,000 deliveries",
            self.name,
            served.accepted_per_second,
            served.recorded_per_second,
            served.cpu_seconds_per_thousand
        );
        self.recorded.push(served.recorded_per_second);
        self.cpu.push(served.cpu_seconds_per_thousand);
        for server in servers {
            server.stop().await?;
        }
        Ok(())
    }
}
