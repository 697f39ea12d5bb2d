//! Free space on a disk, with a warning before it runs out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The interval between checks.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Below this number of free bytes the log warns. At a thousand events of 1 KB a second they last about an hour, so there is time
/// to act.
const BYTES_FEW: u64 = 2 << 30;

/// The log warns only if the free space is also below this part of the disk, because a small disk is not a fault.
const PART_FEW: u64 = 20;

/// The free bytes that a store needs to open: several times the initial size of the files next to it.
const BYTES_NEEDED: u64 = 1 << 20;

/// The space on a file system for users other than root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes in all.
    pub all_bytes: u64,
}

impl Room {
    /// The space on the file system of `path`, which must exist.
    ///
    /// # Errors
    /// If the system does not report it.
    #[cfg(unix)]
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free_bytes: bytes(found.f_bavail), all_bytes: bytes(found.f_blocks) })
    }

    /// The space on the file system of `path`, which must exist.
    ///
    /// # Errors
    /// Always: this system is not supported.
    #[cfg(not(unix))]
    pub fn at(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether space will soon run out: less than 2 GiB and less than a twentieth of the disk are free.
    pub fn is_low(self) -> bool {
        self.free_bytes < BYTES_FEW && self.free_bytes < self.all_bytes / PART_FEW
    }

    /// Whether a store cannot even be opened: its files need some tens of KiB.
    pub fn is_used_up(self) -> bool {
        self.free_bytes < BYTES_NEEDED
    }

    /// The free bytes in MiB, for people.
    pub fn free_mib(self) -> u64 {
        self.free_bytes >> 20
    }
}

/// Logs once when the space at `path` becomes low, and once when it recovers, until `end`.
pub(crate) async fn watch(path: PathBuf, end: CancellationToken) {
    let mut was_low = false;
    loop {
        match look(&path).await {
            Ok(room) => {
                if room.is_low() != was_low {
                    was_low = tell(room, &path);
                }
            }
            Err(error) => tracing::debug!(%error, "the system does not say how much room is left"),
        }
        if end.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Reads the space on a blocking thread, because the disk may be slow.
async fn look(path: &Path) -> io::Result<Room> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || Room::at(&path)).await?
}

fn tell(room: Room, path: &Path) -> bool {
    let (path, free_mib) = (path.display(), room.free_mib());
    if room.is_low() {
        tracing::warn!(%path, free_mib, "the disk is nearly full: without room no event is accepted");
    } else {
        tracing::info!(%path, free_mib, "the disk has room again");
    }
    room.is_low()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(free_bytes: u64, all_bytes: u64, expected: bool) {
        let room = Room { free_bytes, all_bytes };
        assert_eq!(room.is_low(), expected, "{room:?}");
    }

    #[test]
    fn low_is_little_in_bytes_and_as_a_part() {
        check(0, 0, false);
        check(0, 1 << 20, true);
        check(1 << 30, 100 << 30, true);
        check(2 << 30, 100 << 30, false);
        check(100 << 20, 1 << 30, false);
        check(50 << 20, 1 << 30, true);
        assert!(Room { free_bytes: 0, all_bytes: 1 << 30 }.is_used_up());
        assert!(!Room { free_bytes: 1 << 20, all_bytes: 1 << 30 }.is_used_up());
    }

    #[cfg(unix)]
    #[test]
    fn the_system_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room::at(folder.path()).expect("told");
        assert!(room.all_bytes >= room.free_bytes && room.all_bytes > 0, "{room:?}");
        Room::at(&folder.path().join("nowhere")).expect_err("not there");
    }
}
