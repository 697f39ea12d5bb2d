//! A disk that can lose its power and that can be full.
//!
//! The disk is a file system in this process's memory. It is mounted with FUSE, so programs run on it unchanged. Programs read
//! their own writes at once. After a loss of power only synced data remains: a file's bytes after `fsync` or `fdatasync` of the
//! file, its name after a sync of its folder. POSIX guarantees no more, although most file systems keep more.
//!
//! A sync takes some milliseconds, and keeps all writes from before it began.
//!
//! The mount disappears with this process if the process has its own mount namespace.

mod file;
mod requests;
mod tree;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use fuser::{BackgroundSession, Config, Errno, MountOption, ReplyEmpty, SessionACL};
use stackbell_model::Entropy as _;
use stackbell_testkit::SeededEntropy;
use tempfile::TempDir;

use file::{PAGE, SyncNumber};
use tree::{Number, Tree};

/// The capacity of a disk that is not full: more than any test needs.
const BYTES_MAX: u64 = 4 << 30;

/// The maximum duration of a sync. It is typical for a server's disk, between memory and a spinning disk.
const SYNC_MAX: Duration = Duration::from_millis(4);

/// The effect of a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All unsynced data is lost.
    Unsynced,
    /// Each unsynced page, and the unsynced names of each folder, are lost at random.
    Some,
    /// Nothing is lost: only processes have ended.
    Nothing,
}

/// The guarantee that a sync gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Synced data is kept.
    Kept,
    /// Synced data is lost too. This shows whether the checks would detect a loss.
    Broken,
}

/// A mounted disk.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    /// Present, except while the power is off.
    session: Option<BackgroundSession>,
    folder: TempDir,
    rng: SeededEntropy,
}

/// The state shared by requests, syncs, and the disk's owner.
struct Shared {
    tree: Mutex<Tree>,
    syncs: AtomicU64,
    promise: Promise,
    /// The number of requests rejected for lack of space.
    refused: AtomicUsize,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("nothing panics while it holds this")
    }
}

/// A running sync, and the request that waits for the sync.
struct Sync {
    of: Number,
    number: SyncNumber,
    reply: ReplyEmpty,
}

impl Disk {
    /// Makes an empty disk.
    ///
    /// # Errors
    /// If mounting is not possible here.
    pub(crate) fn new(promise: Promise, rng: SeededEntropy) -> anyhow::Result<Self> {
        let tree = Mutex::new(Tree::new(BYTES_MAX / PAGE as u64));
        let shared =
            Arc::new(Shared { tree, syncs: AtomicU64::new(0), promise, refused: AtomicUsize::new(0) });
        let folder = tempfile::tempdir()?;
        let mut disk = Self { shared, session: None, folder, rng };
        disk.mount()?;
        Ok(disk)
    }

    /// The mount point.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Turns the power off and on again. All processes with open files must have ended.
    ///
    /// # Errors
    /// If one of them still runs.
    pub(crate) fn lose_power(&mut self, loss: Loss) -> anyhow::Result<()> {
        self.unmount()?;
        let rng = &mut self.rng;
        self.shared.tree().lose_power(|| match loss {
            Loss::Unsynced => false,
            Loss::Some => rng.fraction() < 0.5,
            Loss::Nothing => true,
        });
        self.mount()
    }

    /// Leaves this many free bytes at most.
    pub(crate) fn fill(&self, bytes_left: u64) {
        self.shared.tree().leave_free(bytes_left / PAGE as u64);
    }

    /// Frees as much space as an empty disk has.
    pub(crate) fn make_room(&self) {
        self.shared.tree().leave_free(BYTES_MAX / PAGE as u64);
    }

    /// The number of requests rejected for lack of space.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        let mut config = Config::default();
        let name = MountOption::FSName("stackbell-chaos".to_owned());
        config.mount_options = vec![MountOption::DefaultPermissions, MountOption::NoAtime, name];
        // The database runs as another user.
        config.acl = SessionACL::All;
        let (syncs, waiting) = channel();
        let (shared, rng) = (Arc::clone(&self.shared), SeededEntropy::new(self.rng.next_u64()));
        thread::spawn(move || sync_in_turn(&shared, &waiting, rng));
        let requests = Requests { shared: Arc::clone(&self.shared), syncs };
        let session = fuser::spawn_mount(requests, self.folder.path(), &config).context(
            "a file system of our own cannot be mounted: it takes /dev/fuse and CAP_SYS_ADMIN \
             (in a container: --device /dev/fuse --cap-add SYS_ADMIN)",
        )?;
        self.session = Some(session);
        Ok(())
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        match session.umount_and_join() {
            Ok(()) => Ok(()),
            // After the unmount an error is no failure: the kernel may have aborted a request, and then accepts no response to
            // it.
            Err(_) if self.is_unmounted() => Ok(()),
            Err(problem) => Err(problem).context("the disk is in use"),
        }
    }

    /// Whether the folder is on the file system of its parent folder.
    fn is_unmounted(&self) -> bool {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let (inner, outer) = (device(self.path()), self.path().parent().and_then(device));
        inner.is_some() && inner == outer
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(problem) = self.unmount() {
            eprintln!("{problem:#}");
        }
    }
}

/// The request handler of the disk.
struct Requests {
    shared: Arc<Shared>,
    syncs: Sender<Sync>,
}

impl Requests {
    /// Begins a sync. The reply is sent when the sync has ended, or at once if there is nothing to do.
    fn sync(&self, of: Number, reply: ReplyEmpty) {
        let number = SyncNumber(self.shared.syncs.fetch_add(1, Ordering::Relaxed));
        let begun = self.answer(|tree| {
            let is_synced = tree.is_synced(of)?;
            if !is_synced {
                tree.begin_sync(of, number)?;
            }
            Ok(!is_synced)
        });
        match begun {
            // Sending cannot fail, because the receiver runs until this value is dropped.
            Ok(true) => drop(self.syncs.send(Sync { of, number, reply })),
            Ok(false) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn answer<T>(&self, work: impl FnOnce(&mut Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        let answer = work(&mut self.shared.tree());
        if matches!(answer, Err(Errno::ENOSPC)) {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Ends syncs one after another, as a disk does.
fn sync_in_turn(shared: &Shared, waiting: &Receiver<Sync>, mut rng: SeededEntropy) {
    while let Ok(sync) = waiting.recv() {
        thread::sleep(SYNC_MAX.mul_f64(rng.fraction()));
        if shared.promise == Promise::Kept {
            shared.tree().end_sync(sync.of, sync.number);
        }
        sync.reply.ok();
    }
}
