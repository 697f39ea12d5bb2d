//! A description of the machine, on which most figures depend.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use crate::report::{Spread, number};

/// Prints the description.
///
/// # Errors
/// If the folder is in memory, because a commit there does not wait for a disk.
pub(crate) fn describe(folder: &Path) -> anyhow::Result<()> {
    let filesystem = Filesystem::of(folder)?;
    ensure!(
        !["tmpfs", "ramfs"].contains(&filesystem.kind.as_str()),
        "{} is in memory ({}): name a folder on a disk with --data",
        folder.display(),
        filesystem.kind
    );
    let cores = std::thread::available_parallelism()?;
    println!("processor    {}, {cores} cores", field("/proc/cpuinfo", "model name")?);
    println!("memory       {} MiB", kibibytes(&field("/proc/meminfo", "MemTotal")?)? / 1024);
    println!("kernel       {} {}", line("/proc/sys/kernel/ostype")?, line("/proc/sys/kernel/osrelease")?);
    println!("data folder  {} on {}", filesystem.kind, filesystem.device);
    println!("its syncs    {} of 4 KiB, written and synced", syncs(folder)?);
    let load = line("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    println!("load before  {load}: well below 1, or the figures are somebody else's, too");
    if cfg!(debug_assertions) {
        println!("build        with debug assertions: these figures say nothing about a release");
    }
    Ok(())
}

struct Filesystem {
    kind: String,
    device: String,
}

impl Filesystem {
    /// The file system that contains the folder: the mount with the longest matching path, and the last one of several.
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let above = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
            folder.starts_with(point).then_some((point.len(), device, kind))
        });
        let (_, device, kind) = above.max_by_key(|(length, ..)| *length).context("no filesystem")?;
        Ok(Self { kind: kind.to_owned(), device: device.to_owned() })
    }
}

/// Measures the sync time of the disk for the smallest possible commit.
fn syncs(folder: &Path) -> anyhow::Result<String> {
    const TIMES: usize = 50;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut milliseconds = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let Spread { median, min, max } = Spread::of(&milliseconds)?;
    Ok(format!("{} ms ({} to {})", number(median), number(min), number(max)))
}

fn line(path: &str) -> anyhow::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn field(path: &str, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(found, _)| found.trim() == name);
    Ok(found.map_or("unknown", |(_, value)| value.trim()).to_owned())
}

fn kibibytes(text: &str) -> anyhow::Result<u64> {
    text.trim_end_matches(" kB").parse().with_context(|| format!("not so many kB: {text}"))
}
