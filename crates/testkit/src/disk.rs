//! A small disk, which can be full.
//!
//! It is a file system in memory, in a mount namespace of the process that has it, and goes with that process. That takes
//! `unshare` and `mount` (util-linux), and root or a kernel that gives users namespaces; where they are missing this panics.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A namespace in which we may mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// For whoever is nobody, or is root in a container: who is in it is called root, and there is no other user.
    Mapped,
    /// For root, with all users that there are.
    Plain,
}

impl Namespace {
    /// The first that works here.
    ///
    /// # Panics
    /// When none does.
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

    /// The words before a command that becomes a process with a disk of its own at `folder`, as `mount` is to be told of it.
    pub(crate) fn disk(self, folder: &Path, options: &str) -> Vec<OsString> {
        let script = format!("mount -t tmpfs -o {options} none \"$0\" && exec \"$@\"");
        let words = ["unshare"].into_iter().chain(self.flags().iter().copied()).chain(["sh", "-c", &script]);
        words.map(OsString::from).chain([folder.into()]).collect()
    }
}

/// The words before a command that becomes a process for which `folder`, which is there, is a disk with these options of
/// `mount`, such as `size=16m,mode=700`.
///
/// # Panics
/// When that cannot be done here.
pub fn small_disk(folder: &Path, options: &str) -> Vec<OsString> {
    Namespace::find().disk(folder, options)
}

/// A file that takes all the room there is on a process's disk, for as long as it is there.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk that the folder is on, as this process sees it.
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

    /// Makes room.
    pub fn remove(self) {
        std::fs::remove_file(self.0).expect("removed");
    }
}
