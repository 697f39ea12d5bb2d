//! The operating system's data about a server process.

use std::time::Duration;

use anyhow::Context;

use super::ServerProcess;

impl ServerProcess {
    /// The user and system time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.proc("stat")?;
        // The second field is the name in parentheses; utime and stime are fields 14 and 15, in hundredths of a second.
        let after_name = stat.rsplit_once(')').context("the server's /proc/…/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks =
            |n: usize| -> anyhow::Result<u64> { Ok(fields.get(n).context("too few fields")?.parse()?) };
        Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    }

    /// The resident memory in MiB.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The peak of the resident memory in MiB.
    pub(crate) fn resident_max(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("the server's memory")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let id = self.child.0.id().context("the server has ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{id}/{file}"))?)
    }
}
