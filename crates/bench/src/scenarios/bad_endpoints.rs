//! A healthy endpoint alone, beside a thousand bad endpoints of the same organization, and beside a thousand healthy ones. The
//! last one shows the cost of a thousand simultaneous deliveries alone.
//!
//! Events of a stack go to the healthy endpoint, 200 per second. Once per second an event of an environment
//! goes to all bad endpoints. Each kind of bad endpoint gets its own server. These measurements alternate
//! with those of a server with the healthy endpoint alone. The seconds after the first bad deliveries are
//! measured, because most attempts are stuck then, and no circuit breaker is open yet.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::Bench;
use crate::attached::open_files_max;
use crate::latency::{p50_p99, paced};
use crate::load::{LoadProcess, Order, Pattern};
use crate::receiver::{BadReceiver, Badness, Receiver, STAMPED_PATH};
use crate::report::{Figure, Target};
use crate::server::{Endpoint, Publishing, ServerProcess};

/// The rate of events for the healthy endpoint.
const PER_SECOND: u32 = 200;
/// The number of kinds that are compared with one measurement of the healthy endpoint alone.
const SORTS_AFTER_ALONE: usize = 3;
/// A connection for each of a thousand endpoints, on both sides, and a reserve.
const OPEN_FILES_MIN: u64 = 8192;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    ensure!(
        open_files_max() >= OPEN_FILES_MIN,
        "a process may have {} files open, and this takes {OPEN_FILES_MIN}: raise it with ulimit -Hn",
        open_files_max()
    );
    let sorts = Badness::value_variants();
    let mut alone = Vec::new();
    let mut ratios = vec![Vec::new(); sorts.len()];
    let mut besides = vec![Vec::new(); sorts.len()];
    let mut fan_outs = Vec::new();
    for round in 1..=bench.pairs()? {
        for (index, sort) in sorts.iter().enumerate() {
            if index % SORTS_AFTER_ALONE == 0 {
                let p99 = healthy_p99(bench, None, &mut fan_outs).await?;
                println!("  round {round}: alone: p99 {p99:.2} ms");
                alone.push(p99);
            }
            let before = *alone.last().context("it was measured alone")?;
            let beside = healthy_p99(bench, Some(*sort), &mut fan_outs).await?;
            println!("  round {round}: beside those that {}: p99 {beside:.2} ms", sort.in_words());
            besides[index].push(beside);
            ratios[index].push(100.0 * beside / before);
        }
    }
    let mut figures = vec![
        Figure::new("healthy p99 alone", "ms", alone),
        Figure::new("an event for the thousand, POST to 202", "ms", fan_outs),
    ];
    for ((sort, beside), ratios) in sorts.iter().zip(besides).zip(ratios) {
        let words = sort.in_words();
        figures.push(Figure::new(format!("healthy p99 beside those that {words}"), "ms", beside));
        let ratio = Figure::new(format!("the same of that alone ({words})"), "%", ratios);
        figures.push(match sort {
            Badness::AnswersAtOnce => ratio,
            _ => bench.aim(ratio, Target::AtMost(125.0)),
        });
    }
    Ok(figures)
}

/// Returns the healthy endpoint's 99th percentile from POST to arrival, in milliseconds. Adds the response
/// times of events for the other endpoints to `fan_outs`.
async fn healthy_p99(bench: &Bench, sort: Option<Badness>, fan_outs: &mut Vec<f64>) -> anyhow::Result<f64> {
    let mut receiver = Receiver::start(1).await?;
    let server = bench.setup.start().await?;
    let url = format!("http://{}{STAMPED_PATH}", receiver.addresses()[0]);
    let bad = match sort {
        Some(sort) => Some(BadReceiver::start(sort, bench.pick(1000, 50)).await?),
        None => None,
    };
    let mut endpoints = vec![Endpoint::of_stack("healthy", url)];
    let bad_urls = bad.iter().flat_map(BadReceiver::urls).enumerate();
    endpoints.extend(bad_urls.map(|(number, url)| Endpoint::of_environments(format!("bad{number}"), url)));
    server.register(&endpoints).await?;
    let pattern =
        |seconds: u64| Pattern::Paced { per_second: PER_SECOND, time: Duration::from_secs(seconds) };
    let publish = || Publishing::Single.request();
    let warm_up = paced(server.address(), publish(), pattern(1), &mut receiver).await?;
    let time = bench.seconds(4);
    let measured = Pattern::Paced { per_second: PER_SECOND, time };
    let healthy = paced(server.address(), publish(), measured, &mut receiver);
    let latencies = match bad {
        Some(_) => beside(&server, time, healthy, fan_outs).await?,
        None => healthy.await?,
    };
    if let Some(sort) = sort {
        let healthy = warm_up.sent_to_received.len() + latencies.sent_to_received.len();
        let bad = server.attempts().await?.saturating_sub(healthy as u64);
        ensure!(bad > 0, "no attempt was made at those that {}", sort.in_words());
        println!(
            "    {bad} attempts were made at those that {}; {:.1} CPU s of the server",
            sort.in_words(),
            server.cpu()?.as_secs_f64()
        );
    }
    // Attempts in flight at the bad endpoints would delay a normal stop.
    server.kill().await?;
    Ok(p50_p99(&latencies.sent_to_received)?.1)
}

/// The bad deliveries start one second before the measurement, and continue during it.
async fn beside<T>(
    server: &ServerProcess,
    time: Duration,
    measured: impl Future<Output = anyhow::Result<T>>,
    fan_outs: &mut Vec<f64>,
) -> anyhow::Result<T> {
    let pattern = Pattern::Paced { per_second: 1, time: time + Duration::from_secs(1) };
    let to = vec![server.address()];
    let bad =
        LoadProcess::connect(&Order { to, request: Publishing::environment(), connections: 1, pattern })
            .await?;
    let delayed = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        measured.await
    };
    let (bad, measured) = tokio::try_join!(bad.run(), delayed)?;
    ensure!(bad.answered >= 1, "no bad delivery was made");
    fan_outs.extend(bad.stamps.iter().map(|stamp| stamp.answered.milliseconds_since(stamp.sent)));
    Ok(measured)
}
