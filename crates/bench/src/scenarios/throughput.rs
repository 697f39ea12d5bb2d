//! As many events as go, beside what a bare client reaches: pairs of measurements, the raw rate first.

use super::Bench;
use crate::load::Pattern;
use crate::measure::{Measurement, raw};
use crate::receiver::{HOOK_PATH, Receiver};
use crate::report::{Figure, Target};
use crate::server::{Endpoint, Publishing};

/// Connections of the load, raw and served.
const CONNECTIONS: usize = 64;

/// What is published, and to how many.
pub(super) struct Throughput {
    pub(super) publishing: Publishing,
    pub(super) webhooks: usize,
    /// Of those who publish; the raw rate has 64 at all times.
    pub(super) connections: usize,
    /// Seconds that events are published in each pair.
    pub(super) seconds: u64,
    /// Deliveries of a hundred raw exchanges.
    pub(super) ratio_least: f64,
}

impl Throughput {
    pub(super) const ALL_CONNECTIONS: usize = CONNECTIONS;

    pub(super) async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
        let (mut raws, mut accepted, mut recorded, mut ratios, mut cpus) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut receiver = Receiver::start(self.webhooks).await?;
        let server = bench.setup.start().await?;
        server.register(&endpoints(&receiver)).await?;
        let servers = std::slice::from_ref(&server);
        let measurement = |seconds| Measurement {
            servers,
            publishing: self.publishing,
            webhooks: self.webhooks as u64,
            connections: self.connections,
            pattern: Pattern::For(bench.seconds(seconds)),
        };
        // Connections are made, and the server gets to know its endpoints.
        measurement(1).run(&mut receiver).await?;
        for pair in 1..=bench.pairs()? {
            let raw = raw(&receiver, CONNECTIONS, bench.seconds(5)).await?;
            let served = measurement(self.seconds).run(&mut receiver).await?;
            let ratio = 100.0 * served.recorded_per_second / raw;
            println!(
                "  pair {pair}: raw {raw:.0} exchanges/s; {:.0} events/s accepted, {:.0} deliveries/s recorded, {ratio:.1} % of raw; \
                 {:.3} CPU s for 1,000 deliveries",
                served.accepted_per_second, served.recorded_per_second, served.cpu_seconds_per_thousand
            );
            raws.push(raw);
            accepted.push(served.accepted_per_second);
            recorded.push(served.recorded_per_second);
            ratios.push(ratio);
            cpus.push(served.cpu_seconds_per_thousand);
        }
        server.stop().await?;
        let ratio = Figure::new("deliveries of raw", "%", ratios);
        let cpu = Figure::new("CPU for 1,000 deliveries", "s", cpus);
        Ok(vec![
            Figure::new("raw", "exchanges/s", raws),
            Figure::new("accepted", "events/s", accepted),
            Figure::new("delivered and recorded", "deliveries/s", recorded),
            bench.aim(ratio, Target::AtLeast(self.ratio_least)),
            bench.aim(cpu, Target::AtMost(0.05)),
        ])
    }
}

/// A webhook for each of the receiver's ports.
pub(super) fn endpoints(receiver: &Receiver) -> Vec<Endpoint> {
    let numbered = receiver.addresses().iter().enumerate();
    numbered
        .map(|(number, address)| {
            Endpoint::of_stack(format!("bench{number}"), format!("http://{address}{HOOK_PATH}"))
        })
        .collect()
}
