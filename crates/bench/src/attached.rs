//! Runs a command that ends when its parent process ends, for whatever reason.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};

/// Replaces this process with the command. The parent-death signal and the open-file limit survive the
/// `exec`.
///
/// Returns only on failure.
pub(crate) fn become_command(parent: u32, words: &[OsString]) -> anyhow::Result<()> {
    end_with_parent()?;
    // The parent may have ended before the death signal was set up.
    let actual = getppid().and_then(|id| u32::try_from(id.as_raw_nonzero().get()).ok());
    ensure!(actual == Some(parent), "the benchmark is gone");
    raise_open_files()?;
    let (program, arguments) = words.split_first().context("a command")?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("starting {}", program.display()))
}

#[cfg(target_os = "linux")]
fn end_with_parent() -> anyhow::Result<()> {
    let signal = rustix::process::Signal::KILL;
    Ok(rustix::process::set_parent_process_death_signal(Some(signal))?)
}

/// On other systems, a killed benchmark leaves its server behind.
#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> anyhow::Result<()> {
    Ok(())
}

/// Raises the open-file limit of this process to its maximum.
pub(crate) fn raise_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// The maximum that the open-file limit can be raised to.
pub(crate) fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}
