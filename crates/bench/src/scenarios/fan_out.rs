//! Single events, for ten endpoints each.

use super::Bench;
use super::throughput::Throughput;
use crate::report::Figure;
use crate::server::Publishing;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let throughput = Throughput {
        publishing: Publishing::Single,
        webhooks: 10,
        connections: Throughput::ALL_CONNECTIONS,
        seconds: 10,
        ratio_least: 60.0,
    };
    throughput.measure(bench).await
}
