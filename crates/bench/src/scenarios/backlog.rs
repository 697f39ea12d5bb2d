//! A million pending deliveries compared with a thousand: two servers with ten endpoints each, on which
//! sending is on hold.
//!
//! The servers take turns: each is resumed until a thousand deliveries have arrived, and is then put on hold again. The compared
//! time is from the first of the thousand deliveries to the last. Each of these deliveries was claimed from the backlog. At the
//! end the large backlog is sent for a while, to measure the server's memory meanwhile.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use super::{Bench, ndjson};
use crate::load::{self, Order, Pattern};
use crate::receiver::{Receiver, STAMPED_PATH};
use crate::report::{Figure, Target};
use crate::server::{Endpoint, Publishing, ServerProcess};

const WEBHOOKS: usize = 10;
/// The number of deliveries in one measurement.
const THOUSAND: usize = 1000;
/// The number of events for a thousand deliveries.
const EVENTS: u64 = (THOUSAND / WEBHOOKS) as u64;

/// A server whose sending is on hold, and its receiver.
struct Held {
    server: ServerProcess,
    receiver: Receiver,
}

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let backlog = bench.pick(1_000_000, 2_000);
    let mut small = Held::start(bench).await?;
    let mut large = Held::start(bench).await?;
    let began = Instant::now();
    large.publish(backlog / WEBHOOKS as u64).await?;
    let filled = backlog as f64 / began.elapsed().as_secs_f64();
    let pending = large.server.statistics().await?.pending;
    ensure!(pending >= backlog, "{pending} deliveries wait instead of {backlog}");
    println!(
        "  {backlog} deliveries wait, made at {filled:.0}/s; resident {:.1} MiB",
        large.server.resident()?
    );
    let (mut few, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=bench.pick(10, 2) {
        // The number of added deliveries equals the number of sent ones, so that the backlog keeps its size.
        small.publish(EVENTS).await?;
        let beside_few = small.send_a_thousand().await?;
        large.publish(EVENTS).await?;
        let beside_many = large.send_a_thousand().await?;
        println!("  pair {pair}: a thousand took {beside_few:.1} ms, beside {backlog} {beside_many:.1} ms");
        few.push(beside_few);
        many.push(beside_many);
        ratios.push(100.0 * beside_many / beside_few);
    }
    let drained = large.send_for(bench.seconds(10)).await?;
    let resident = large.server.resident_max()?;
    small.server.kill().await?;
    large.server.kill().await?;
    let resident = Figure::new("resident at the most", "MiB", vec![resident]);
    let ratio = Figure::new("the same of that with 1,000", "%", ratios);
    Ok(vec![
        Figure::new("deliveries made while held", "deliveries/s", vec![filled]),
        Figure::new("1,000 deliveries where no more wait", "ms", few),
        Figure::new(format!("1,000 deliveries where {backlog} wait"), "ms", many),
        bench.aim(ratio, Target::AtMost(125.0)),
        Figure::new("sent from the backlog", "deliveries/s", vec![drained]),
        bench.aim(resident, Target::AtMost(256.0)),
    ])
}

impl Held {
    /// The server has learned by now that its endpoints are fast.
    async fn start(bench: &Bench) -> anyhow::Result<Self> {
        let receiver = Receiver::start(WEBHOOKS).await?;
        let server = bench.setup.start().await?;
        let numbered = receiver.addresses().iter().enumerate();
        let url = |address| format!("http://{address}{STAMPED_PATH}");
        let endpoints: Vec<_> = numbered
            .map(|(number, address)| Endpoint::of_stack(format!("bench{number}"), url(address)))
            .collect();
        server.register(&endpoints).await?;
        let mut held = Self { server, receiver };
        held.publish(10 * EVENTS).await?;
        held.receiver.wait_for(10 * THOUSAND as u64).await?;
        held.server.hold().await?;
        held.wait_until_quiet().await?;
        Ok(held)
    }

    async fn publish(&self, events: u64) -> anyhow::Result<()> {
        let lines = events.min(ndjson::LINES as u64);
        let order = Order {
            to: vec![self.server.address()],
            request: Publishing::Lines(usize::try_from(lines)?).request(),
            connections: ndjson::CONNECTIONS,
            pattern: Pattern::Times(events / lines),
        };
        load::send(&order).await.map(drop)
    }

    /// Sends a thousand deliveries. Returns the milliseconds from the first to the last.
    async fn send_a_thousand(&mut self) -> anyhow::Result<f64> {
        self.receiver.arrivals().await?;
        let before = self.receiver.count().await?;
        self.server.resume().await?;
        self.receiver.wait_for(before + THOUSAND as u64).await?;
        self.server.hold().await?;
        self.wait_until_quiet().await?;
        let mut moments: Vec<_> =
            self.receiver.arrivals().await?.into_iter().map(|(_, moment)| moment).collect();
        moments.sort_unstable();
        let (first, last) = (moments.first(), moments.get(THOUSAND - 1));
        Ok(last.context("a thousand came")?.milliseconds_since(*first.context("a thousand came")?))
    }

    /// Sends the backlog without a limit. Returns the deliveries per second.
    async fn send_for(&mut self, time: Duration) -> anyhow::Result<f64> {
        let before = self.receiver.count().await?;
        let began = Instant::now();
        self.server.resume().await?;
        sleep(time).await;
        let count = self.receiver.count().await? - before;
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    async fn wait_until_quiet(&self) -> anyhow::Result<()> {
        const WITHIN: Duration = Duration::from_secs(30);
        let began = Instant::now();
        while self.server.attempts_in_flight().await? > 0 {
            ensure!(began.elapsed() < WITHIN, "attempts are under way though sending is held");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
