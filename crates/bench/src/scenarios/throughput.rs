//! The maximum rate of events, compared with a minimal client. Measurements come in pairs, the raw rate
//! first.

use super::Bench;
use crate::load::Pattern;
use crate::measure::{Measurement, raw};
use crate::receiver::{HOOK_PATH, Receiver};
use crate::report::{Figure, Target};
use crate::server::{Endpoint, Publishing};

/// Connections of the load in both measurements.
const CONNECTIONS: usize = 64;

/// The kind of requests, and the number of webhooks.
pub(super) struct Throughput {
    pub(super) publishing: Publishing,
    pub(super) webhooks: usize,
    /// Connections of the publishers. The raw rate is always measured with 64.
    pub(super) connections: usize,
    /// The publishing time in seconds for each pair.
    pub(super) seconds: u64,
    /// The target: deliveries as a percentage of the raw rate.
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
        // Warm-up: connections are opened, and the server learns how fast its endpoints are.
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

/// Makes a webhook for each of the receiver's ports.
pub(super) fn endpoints(receiver: &Receiver) -> Vec<Endpoint> {
    let numbered = receiver.addresses().iter().enumerate();
    numbered
        .map(|(number, address)| {
            Endpoint::of_stack(format!("bench{number}"), format!("http://{address}{HOOK_PATH}"))
        })
        .collect()
}
