//! Backups: a copy of the store in a file, which is removed once nothing holds it.

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

/// The file name of the copy.
const FILE_NAME: &str = "backup.db";

/// The bytes of a copy that are in memory at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether a copy exists or is being made. Only one may exist, because each needs as much disk as the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copying(Arc<AtomicBool>);

/// The permit for the copy. Its drop removes the file.
#[derive(Debug)]
struct Permit {
    path: PathBuf,
    copying: Copying,
}

impl Copying {
    fn begin(&self, path: PathBuf) -> Option<Permit> {
        let is_free = self.0.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        is_free.then(|| Permit { path, copying: self.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        remove(&self.path);
        self.copying.0.store(false, Ordering::Release);
    }
}

/// A copy of the store. Its drop removes the file.
#[derive(Debug)]
pub struct StoreCopy {
    /// The file, at its beginning.
    pub file: File,
    /// The length in bytes.
    pub bytes: u64,
    /// The SHA-256 digest of the file.
    pub sha256: [u8; 32],
    /// The guard to hold while the file is read.
    pub guard: CopyGuard,
}

/// Keeps the file of a copy until it is dropped.
#[derive(Debug)]
pub struct CopyGuard {
    // Its drop removes the file.
    _permit: Permit,
}

impl App {
    /// Makes a copy of the store as of this moment, with the content of all organizations. Operators only. The time depends on
    /// the disk. The audit log has an entry about the backup, also in the copy.
    ///
    /// # Errors
    /// [`Code::Conflict`] if another copy is not read to its end yet, or if the store makes no copies; [`Code::Forbidden`];
    /// errors of the store; [`Code::Internal`] if the file cannot be read.
    pub async fn back_up(&self, caller: &Caller) -> Result<StoreCopy, Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let Some(backup) = &self.backup else {
            return Err(Error::new(
                Code::Conflict,
                "the store is in a database server, which has its own backups: pg_dump, or base backups with the log since",
            ));
        };
        let path = self.scratch.join(FILE_NAME);
        let Some(permit) = self.copying.begin(path.clone()) else {
            let message = "a backup is being made or read, try again when it is done";
            return Err(Error::new(Code::Conflict, message));
        };
        // The entry is written first, so that the copy has it, too.
        self.audit_act(caller, None, "instance.backup", "a copy of the whole store").await?;
        tracing::info!(actor = caller.name(), "a backup is being made");
        backup.copy_to(&path).await?;
        let opened = spawn_blocking(move || open(&path)).await;
        let opened = opened.map_err(|error| unreadable(Box::new(error)))?;
        let (file, bytes, sha256) = opened.map_err(|error| unreadable(Box::new(error)))?;
        Ok(StoreCopy { file, bytes, sha256, guard: CopyGuard { _permit: permit } })
    }
}

fn unreadable(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error { cause: Some(cause), ..Error::new(Code::Internal, "the backup could not be read") }
}

/// Opens a file and computes its length and SHA-256 digest.
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

/// Removes a copy, if it exists.
fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the copy for a backup was not removed; the next start removes it");
        }
    }
}
