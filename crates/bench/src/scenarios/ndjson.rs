//! Events as NDJSON, for one endpoint.

use super::Bench;
use super::throughput::Throughput;
use crate::report::Figure;
use crate::server::Publishing;

/// Events in a request.
pub(super) const LINES: usize = 200;
/// Requests that are under way at a time: 1,600 lines are enough to keep a server busy.
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
