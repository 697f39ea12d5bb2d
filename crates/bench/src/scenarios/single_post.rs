//! Single events over 64 connections, for one endpoint.

use super::Bench;
use super::throughput::Throughput;
use crate::report::Figure;
use crate::server::Publishing;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let throughput = Throughput {
        publishing: Publishing::Single,
        webhooks: 1,
        connections: Throughput::ALL_CONNECTIONS,
        // A minute in total.
        seconds: 20,
        ratio_least: 30.0,
    };
    throughput.measure(bench).await
}
