//! The memory of a server under load, and the disk space of its deliveries.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Bench;
use super::throughput::endpoints;
use crate::load::Pattern;
use crate::measure::Measurement;
use crate::receiver::Receiver;
use crate::report::{Figure, Target};
use crate::server::{Kept, Publishing, ServerSetup, Store};

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut receiver = Receiver::start(1).await?;
    let server = bench.setup.start().await?;
    server.register(&endpoints(&receiver)).await?;
    // A restart writes all data to its final place.
    let kept = server.stop().await?;
    let before = size(&bench.setup, &kept).await?;
    let (server, _) = bench.setup.start_again(kept).await?;
    let measurement = Measurement {
        servers: std::slice::from_ref(&server),
        publishing: Publishing::Single,
        webhooks: 1,
        connections: 64,
        pattern: Pattern::Times(bench.pick(50_000, 1000)),
    };
    let events = measurement.run(&mut receiver).await?.events as f64;
    let resident = server.resident_max()?;
    let running = size(&bench.setup, server.kept()).await?;
    let kept = server.stop().await?;
    let stopped = size(&bench.setup, &kept).await?;
    println!(
        "  {events} events: resident {resident:.1} MiB at the most; {running:.1} MB, {stopped:.1} MB once stopped"
    );
    let per_thousand = |size: f64| (size - before) * 1000.0 / events;
    let disk =
        Figure::new("disk for 1,000 delivered events, once stopped", "MB", vec![per_thousand(stopped)]);
    Ok(vec![
        Figure::new("resident at the most, under load", "MiB", vec![resident]),
        Figure::new("disk for 1,000 delivered events, while serving", "MB", vec![per_thousand(running)]),
        bench.aim(disk, Target::AtMost(2.0)),
    ])
}

/// The disk space in use, in millions of bytes.
async fn size(setup: &ServerSetup, kept: &Kept) -> anyhow::Result<f64> {
    let bytes = match setup.store() {
        Store::Embedded | Store::Shared(_) => allocated(kept.data())?,
        Store::Fresh(databases) => databases.size().await?,
    };
    Ok(bytes as f64 / 1e6)
}

fn allocated(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        // `blocks` counts 512-byte blocks on every file system.
        bytes += if metadata.is_dir() { allocated(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
