//! The files that say where names come from.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hickory_resolver::Hosts;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};

use super::names::Names;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// What tells one state of the files from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stamps {
    /// They were never read.
    #[default]
    Unread,
    Read([Option<Stamp>; 2]),
}

/// Of a file that is there. Where files come from an image, the time alone may say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: found.modified().ok(), bytes: found.len(), inode })
    }
}

impl Files {
    /// What they say, unless it is what they said before. Blocks.
    pub(super) fn read_if_changed(&self, before: Stamps) -> io::Result<Option<(Stamps, Names)>> {
        // Before they are read: a change meanwhile is seen the next time.
        let stamps = Stamps::Read([Stamp::of(&self.resolv_conf), Stamp::of(&self.hosts)]);
        if stamps == before {
            return Ok(None);
        }
        let (config, options) = servers(&self.resolv_conf)?;
        Ok(Some((stamps, Names::new(hosts(&self.hosts)?, config, options))))
    }
}

/// Who is asked where nobody is named.
#[cfg(all(unix, not(target_vendor = "apple")))]
const LOCAL: &str = "127.0.0.1";

/// Who is to be asked: where nobody is named, the machine itself, as `resolv.conf(5)` has it.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn servers(path: &Path) -> io::Result<(ResolverConfig, ResolverOpts)> {
    let parse = |text: &str| hickory_resolver::system_conf::parse_resolv_conf(text.as_bytes());
    let text = read(path)?;
    let mut parsed = parse(&text);
    // That refuses a file that names nobody, or has a word to search that is no name, where others leave out what they
    // cannot read.
    let searches = |line: &&str| line.trim_start().starts_with("search");
    let plain = text.lines().filter(|line| !searches(line)).collect::<Vec<_>>().join("\n");
    let local = format!("\nnameserver {LOCAL}\n");
    for other in [plain.clone(), format!("{text}{local}"), format!("{plain}{local}")] {
        if parsed.is_err() {
            parsed = parse(&other);
        }
    }
    parsed.map_err(io::Error::other)
}

/// Who is to be asked, as the system has it.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn servers(_: &Path) -> io::Result<(ResolverConfig, ResolverOpts)> {
    hickory_resolver::system_conf::read_system_conf().map_err(io::Error::other)
}

fn hosts(path: &Path) -> io::Result<Hosts> {
    let mut hosts = Hosts::default();
    hosts.read_hosts_conf(read(path)?.as_bytes())?;
    Ok(hosts)
}

/// A file that is not there says nothing. Comments in other encodings than UTF-8 do no harm.
fn read(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}
