//! A mixed load for a given time, for example half an hour, to see whether the use of memory stays constant.
//!
//! Events are sent singly and as NDJSON, for two healthy endpoints. Other endpoints get an event each second
//! and reset their connections, so that circuit breakers open, attempts are retried, and the backlog grows.
//! The history is read from time to time.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Bench;
use super::throughput::endpoints;
use crate::client::Request;
use crate::latency::p50_p99;
use crate::load::{LoadProcess, Order, Pattern, Sent};
use crate::receiver::{BadReceiver, Badness, Receiver};
use crate::report::{Figure, Spread, Target};
use crate::server::{Endpoint, Publishing, ServerProcess};

const SINGLE_PER_SECOND: u32 = 200;
const LINES: usize = 100;
const BATCHES_PER_SECOND: u32 = 2;
const BAD_ENDPOINTS: usize = 50;
/// The number of memory samples.
const LOOKS: u32 = 60;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut receiver = Receiver::start(2).await?;
    let bad = BadReceiver::start(Badness::Resets, BAD_ENDPOINTS).await?;
    let server = bench.setup.start().await?;
    let others = bad.urls().iter().enumerate();
    let others = others.map(|(number, url)| Endpoint::of_environments(format!("bad{number}"), url));
    let endpoints: Vec<_> = endpoints(&receiver).into_iter().chain(others).collect();
    server.register(&endpoints).await?;
    let time = bench.seconds(60);
    let (single, batches, others) = (
        load(&server, Publishing::Single.request(), SINGLE_PER_SECOND, time),
        load(&server, Publishing::Lines(LINES).request(), BATCHES_PER_SECOND, time),
        load(&server, Publishing::environment(), 1, time),
    );
    let (single, batches, _, looks) =
        tokio::try_join!(single, batches, others, look_at_memory(&server, time))?;
    let events = single.answered + batches.answered * LINES as u64;
    receiver.wait_for(events * receiver.addresses().len() as u64).await?;
    server.stop().await?;
    figures(bench, &single, events, &looks)
}

async fn load(
    server: &ServerProcess,
    request: Request,
    per_second: u32,
    time: Duration,
) -> anyhow::Result<Sent> {
    let pattern = Pattern::Paced { per_second, time };
    let order = Order { to: vec![server.address()], request, connections: 8, pattern };
    LoadProcess::connect(&order).await?.run().await
}

/// Samples the memory in MiB. The history is read at each sample, as users would.
async fn look_at_memory(server: &ServerProcess, time: Duration) -> anyhow::Result<Vec<f64>> {
    let mut looks = Vec::new();
    let mut ticks = interval(time / LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + time;
    while Instant::now() < until {
        ticks.tick().await;
        server.read_history().await?;
        looks.push(server.resident()?);
    }
    Ok(looks)
}

fn figures(bench: &Bench, single: &Sent, events: u64, looks: &[f64]) -> anyhow::Result<Vec<Figure>> {
    // The caches fill up in the first fifth of the time.
    let steady = &looks[looks.len() / 5..];
    let third = steady.len() / 3;
    let (first, last) = (Spread::of(&steady[..third])?, Spread::of(&steady[steady.len() - third..])?);
    let answered = single.stamps.iter().map(|stamp| stamp.answered.milliseconds_since(stamp.sent));
    let (p50, p99) = p50_p99(&answered.collect::<Vec<_>>())?;
    println!(
        "  {events} events: resident {:.1} MiB at first, {:.1} MiB at last; POST to 202 {p50:.2} / {p99:.2} ms",
        first.median, last.median
    );
    let growth =
        Figure::new("resident at last, of that at first", "%", vec![100.0 * last.median / first.median]);
    Ok(vec![
        Figure::new("POST to 202, p50", "ms", vec![p50]),
        Figure::new("POST to 202, p99", "ms", vec![p99]),
        Figure::new("resident at first", "MiB", vec![first.median]),
        Figure::new("resident at last", "MiB", vec![last.median]),
        bench.aim(growth, Target::AtMost(110.0)),
    ])
}
