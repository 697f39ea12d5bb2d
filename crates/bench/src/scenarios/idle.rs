//! An idle server: its startup time, its memory and CPU, and the size of its binary.

use super::Bench;
use crate::report::{Figure, Target};

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let binary = std::fs::metadata(bench.setup.binary())?.len() as f64 / f64::from(1 << 20);
    let (mut first, mut again, mut resident, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.pick(5, 1) {
        let (server, took) = bench.setup.start_timed().await?;
        first.push(took.as_secs_f64() * 1e3);
        let kept = server.stop().await?;
        let (server, took) = bench.setup.start_again(kept).await?;
        again.push(took.as_secs_f64() * 1e3);
        let (time, cpu_before) = (bench.seconds(4), server.cpu()?);
        tokio::time::sleep(time).await;
        resident.push(server.resident()?);
        let used = server.cpu()?.saturating_sub(cpu_before);
        cpu.push(100.0 * used.as_secs_f64() / time.as_secs_f64());
        server.stop().await?;
        let last = |values: &[f64]| values.last().copied().unwrap_or_default();
        println!(
            "  round {round}: ready after {:.0} ms on an empty store, {:.0} ms again; {:.1} MiB, {:.2} % of a core",
            last(&first),
            last(&again),
            last(&resident),
            last(&cpu)
        );
    }
    let start = |what, values| bench.aim(Figure::new(what, "ms", values), Target::AtMost(200.0));
    Ok(vec![
        start("start to ready, empty store", first),
        start("start to ready", again),
        bench.aim(Figure::new("resident", "MiB", resident), Target::AtMost(40.0)),
        Figure::new("CPU", "% of a core", cpu),
        bench.aim(Figure::new("binary", "MiB", vec![binary]), Target::AtMost(30.0)),
    ])
}
