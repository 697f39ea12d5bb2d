//! A small disk that can be filled.
//!
//! The disk is a file system in memory. It is mounted in a mount namespace of the process that uses it, and disappears with that
//! process. This needs `unshare` and `mount` (util-linux), and root or a kernel that allows user namespaces; without them this
//! module panics.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A namespace in which mounting is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// For ordinary users, and for root in a container. The process sees itself as root, and no other user exists.
    Mapped,
    /// For root, with all existing users.
    Plain,
}

impl Namespace {
    /// Finds the first kind that works here.
    ///
    /// # Panics
    /// If none works.
    pub(crate) fn find() -> Self {
        let works = |namespace: &Self| {
            let mut command = Command::new("unshare");
            command.args(namespace.flags()).args(["mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]);
            command.output().is_ok_and(|output| output.status.success())
        };
        [Self::Mapped, Self::Plain].into_iter().find(works).unwrap_or_else(|| {
            panic!(
                "this test mounts a small file system in a namespace of its own, and cannot: it needs `unshare` and \
                 `mount` (Debian: util-linux, mount), and root with CAP_SYS_ADMIN or user namespaces \
                 (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
            )
        })
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Mapped => &["--map-root-user", "--mount"],
            Self::Plain => &["--mount"],
        }
    }

    /// Returns the command prefix that gives a process its own disk at `folder`, with the options of `mount`.
    pub(crate) fn disk(self, folder: &Path, options: &str) -> Vec<OsString> {
        let script = format!("mount -t tmpfs -o {options} none \"$0\" && exec \"$@\"");
        let words = ["unshare"].into_iter().chain(self.flags().iter().copied()).chain(["sh", "-c", &script]);
        words.map(OsString::from).chain([folder.into()]).collect()
    }
}

/// Returns the command prefix that runs a process with its own disk at the existing folder `folder`.
/// `options` are options of `mount`, such as `size=16m,mode=700`.
///
/// # Panics
/// If that is not possible here.
pub fn small_disk(folder: &Path, options: &str) -> Vec<OsString> {
    Namespace::find().disk(folder, options)
}

/// A file that fills up a process's disk while it exists.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk that holds the folder, as the process sees it.
    pub fn fill(process_id: u32, folder: &Path) -> Self {
        let folder = folder.strip_prefix("/").expect("an absolute path");
        let path = PathBuf::from(format!("/proc/{process_id}/root")).join(folder).join("ballast");
        let mut file = File::create(&path).expect("made");
        for size in [64 * 1024, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        Self(path)
    }

    /// Frees the space.
    pub fn remove(self) {
        std::fs::remove_file(self.0).expect("removed");
    }
}
