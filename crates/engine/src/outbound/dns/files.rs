//! The files that configure name resolution.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::hosts::Hosts;
use super::names::Names;
use super::resolv_conf::ResolvConf;

/// The paths of the files.
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

/// A fingerprint of the files, to detect changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stamps {
    /// The files were never read.
    #[default]
    Unread,
    Read([Option<Stamp>; 2]),
}

/// The fingerprint of an existing file. Files from a container image may all have equal times, so the time is not enough.
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
    /// Reads the files, if they differ from the state `before`. Blocks.
    pub(super) fn read_if_changed(&self, before: Stamps) -> io::Result<Option<(Stamps, Names)>> {
        // The fingerprint is taken before the read, so a change during the read is detected the next time.
        let stamps = Stamps::Read([Stamp::of(&self.resolv_conf), Stamp::of(&self.hosts)]);
        if stamps == before {
            return Ok(None);
        }
        let conf = conf(&self.resolv_conf)?;
        let hosts = Hosts::parse(&read(&self.hosts)?);
        Ok(Some((stamps, Names::new(hosts, conf))))
    }
}

/// The name servers and how to query them.
fn conf(path: &Path) -> io::Result<ResolvConf> {
    Ok(ResolvConf::parse(&read(path)?, &host_name(), interface))
}

/// The name of this machine.
#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Other systems have a domain for each interface; none of them is searched.
#[cfg(not(unix))]
fn host_name() -> String {
    String::new()
}

/// The index of a network interface.
#[cfg(target_os = "linux")]
fn interface(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}

/// On other systems a zone is always a number.
#[cfg(not(target_os = "linux"))]
fn interface(_: &str) -> Option<u32> {
    None
}

/// Reads a file; a missing file counts as empty. Comments that are not in UTF-8 do no harm.
fn read(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}
