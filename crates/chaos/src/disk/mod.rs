//! A disk that can lose its power and that can be full.
//!
//! It is a file system in this process's memory, mounted with FUSE: what is on it runs unchanged. What programs write they
//! read again at once; after a loss of power only that is there which was synced before, a file's bytes by `fsync` or
//! `fdatasync` of the file, its name by that of its folder. That is what POSIX promises, and less than most file systems do.
//!
//! A sync takes some milliseconds, and keeps what was written before it began.
//!
//! The mount goes with this process if that has a mount namespace of its own.

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

/// How much fits on it, when it is not full: more than anything needs that is tried here.
const BYTES_MAX: u64 = 4 << 30;

/// The longest that a sync takes: as a disk of a server, between one in memory and one that turns.
const SYNC_MAX: Duration = Duration::from_millis(4);

/// What a loss of power takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All that was not synced.
    Unsynced,
    /// Of what was not synced, every page and every folder's names by the toss of a coin.
    Some,
    /// Nothing: only processes have ended.
    Nothing,
}

/// What a sync is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// What was synced is kept.
    Kept,
    /// Nothing is: so it shows whether a loss would be seen.
    Broken,
}

/// A disk, mounted.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    /// There, but while the power is off.
    session: Option<BackgroundSession>,
    folder: TempDir,
    rng: SeededEntropy,
}

/// What requests, syncs, and the disk's owner work on.
struct Shared {
    tree: Mutex<Tree>,
    syncs: AtomicU64,
    promise: Promise,
    /// Requests for which there was no room.
    refused: AtomicUsize,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("nothing panics while it holds this")
    }
}

/// A sync that has begun, and who waits for it.
struct Sync {
    of: Number,
    number: SyncNumber,
    reply: ReplyEmpty,
}

impl Disk {
    /// An empty disk.
    ///
    /// # Errors
    /// When nothing can be mounted here.
    pub(crate) fn new(promise: Promise, rng: SeededEntropy) -> anyhow::Result<Self> {
        let tree = Mutex::new(Tree::new(BYTES_MAX / PAGE as u64));
        let shared =
            Arc::new(Shared { tree, syncs: AtomicU64::new(0), promise, refused: AtomicUsize::new(0) });
        let folder = tempfile::tempdir()?;
        let mut disk = Self { shared, session: None, folder, rng };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the power away and gives it back. Whatever had files open has ended.
    ///
    /// # Errors
    /// When something has not.
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

    /// Leaves room for no more than so many bytes.
    pub(crate) fn fill(&self, bytes_left: u64) {
        self.shared.tree().leave_free(bytes_left / PAGE as u64);
    }

    /// Leaves as much room as there is on an empty disk.
    pub(crate) fn make_room(&self) {
        self.shared.tree().leave_free(BYTES_MAX / PAGE as u64);
    }

    /// How often there was no room for something.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        let mut config = Config::default();
        let name = MountOption::FSName("stackbell-chaos".to_owned());
        config.mount_options = vec![MountOption::DefaultPermissions, MountOption::NoAtime, name];
        // A database does not run as we do.
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
            // The kernel may cut a request short that it takes no answer to any more.
            Err(_) if self.is_unmounted() => Ok(()),
            Err(problem) => Err(problem).context("the disk is in use"),
        }
    }

    /// Whether the folder is of the same file system as the one that it is in.
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

/// What is asked of the disk.
struct Requests {
    shared: Arc<Shared>,
    syncs: Sender<Sync>,
}

impl Requests {
    /// Begins a sync, which is answered when it has ended; at once if it has nothing to do.
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
            // They are taken until this is gone.
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

/// Ends syncs one after the other, as a disk does.
fn sync_in_turn(shared: &Shared, waiting: &Receiver<Sync>, mut rng: SeededEntropy) {
    while let Ok(sync) = waiting.recv() {
        thread::sleep(SYNC_MAX.mul_f64(rng.fraction()));
        if shared.promise == Promise::Kept {
            shared.tree().end_sync(sync.of, sync.number);
        }
        sync.reply.ok();
    }
}
