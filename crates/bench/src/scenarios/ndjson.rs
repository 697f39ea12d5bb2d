//! Events as NDJSON, for one endpoint.

use super::Bench;
use super::throughput::Throughput;
use crate::report::Figure;
use crate::server::Publishing;

/// The number of events in a request.
pub(super) const LINES: usize = 200;
/// The number of requests in flight: 1,600 lines keep a server busy.
pub(super) const CONNECTIONS: usize = 8;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let throughput = Throughput {
        publishing: Publishing::Lines(LINES),
        webhooks: 1,
        connections: CONNECTIONS,
        seconds: 10,
        ratio_least: 60.0,
    };
    throughput.measure(bench).await
}
