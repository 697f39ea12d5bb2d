//! A copy of the store, made in a folder of ours and handed on as a file that is gone once nobody holds it.

use stackbell_model::Chain;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::auth::Caller;
use crate::{App, Code, Error};

/// What the copy is called while it is there.
const FILE_NAME: &str = "backup.db";

/// How much of a copy is in memory at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether a copy is there or being made: one at a time, since each takes as much disk as the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copying(Arc<AtomicBool>);

/// The right to the one copy, and its file, which is removed with it.
#[derive(Debug)]
struct Turn {
    path: PathBuf,
    copying: Copying,
}

impl Copying {
    fn begin(&self, path: PathBuf) -> Option<Turn> {
        let is_free = self.0.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        is_free.then(|| Turn { path, copying: self.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        remove(&self.path);
        self.copying.0.store(false, Ordering::Release);
    }
}

/// A copy of the store. Dropped, it leaves no file behind.
#[derive(Debug)]
pub struct StoreCopy {
    /// Its bytes, from the first.
    pub file: File,
    /// How many there are.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// Held while the file is read.
    pub guard: CopyGuard,
}

/// Keeps a copy's file; removes it when dropped.
#[derive(Debug)]
pub struct CopyGuard {
    // Dropped, and with it the file.
    _turn: Turn,
}

impl App {
    /// Makes a copy of the store as of this moment, with the content of all organizations. Operators only. Takes as long as
    /// the disk needs. The audit log has an entry of it, in the copy as well.
    ///
    /// # Errors
    /// [`Code::Conflict`] when there is one that was not read to its end yet, or the store makes no copies;
    /// [`Code::Forbidden`]; those of the store; [`Code::Internal`] when the file cannot be read.
    pub async fn back_up(&self, caller: &Caller) -> Result<StoreCopy, Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let Some(backup) = &self.backup else {
            return Err(Error::new(
                Code::Conflict,
                "the store is a database server's, which has its own backups: pg_dump, or base backups with the log since",
            ));
        };
        let path = self.scratch.join(FILE_NAME);
        let Some(turn) = self.copying.begin(path.clone()) else {
            let message = "a backup is being made or read, try again when it is done";
            return Err(Error::new(Code::Conflict, message));
        };
        // Before the copy is made, so that the copy has the entry, too.
        self.audit_act(caller, None, "instance.backup", "a copy of the whole store").await?;
        tracing::info!(actor = caller.name(), "a backup is being made");
        backup.copy_to(&path).await?;
        let opened = spawn_blocking(move || open(&path)).await;
        let opened = opened.map_err(|error| unreadable(Box::new(error)))?;
        let (file, bytes, sha256) = opened.map_err(|error| unreadable(Box::new(error)))?;
        Ok(StoreCopy { file, bytes, sha256, guard: CopyGuard { _turn: turn } })
    }
}

fn unreadable(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error { cause: Some(cause), ..Error::new(Code::Internal, "the backup could not be read") }
}

/// Opens a file at its beginning, with its length and SHA-256.
fn open(path: &Path) -> io::Result<(File, u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut digest) = (0, Sha256::new());
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        bytes += read as u64;
    }
    file.rewind()?;
    Ok((file, bytes, digest.finalize().into()))
}

/// Removes a copy that may not be there.
fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the copy for a backup was not removed; the next start removes it");
        }
    }
}
