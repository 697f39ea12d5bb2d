//! `stackbell restore`: restores a backup as the store, with all sending held.
//!
//! At any time the store's path has either a complete store or none, because the copy is prepared next to it and then renamed.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};
use stackbell_client::seconds;
use stackbell_config::{ConfigError, EmbeddedSettings, Found, SettingFlags, Settings, StoreSettings};
use stackbell_model::ids::AuditId;
use stackbell_model::{Clock as _, Timestamp};
use stackbell_server::data_folder::{DataFolder, sync_folder};
use stackbell_server::keyring::KeySource;
use stackbell_store::audit::{Audit as _, AuditEntry};
use stackbell_store::backup::{CopyReport, TableReport};
use stackbell_store::instance::{Instance as _, SendingHold};
use stackbell_store::keys::Keys as _;
use stackbell_store_sqlite::{SqliteStore, describe_copy, inspect_copy};
use stackbell_system::{Environment, SystemClock, SystemEntropy, block_on};
use stackbell_wire::rest::rfc3339;

use super::backup::{BUFFER_BYTES, hex, tables, with_digest};

/// The tables that a restore changes: it adds an audit entry, and holds sending.
const WRITTEN: [&str; 2] = ["audit", "meta"];

/// The action and the actor in the audit log.
const ACTION: &str = "instance.restore";
const ACTOR: &str = "stackbell";

#[derive(Debug, Args)]
#[command(after_help = "Example:
  cp /safe/master.key data/master.key
  stackbell restore /backups/stackbell.db --data data
  stackbell serve --data data
  stackbell sending resume

The master key is the one of the backup: in the data folder, or as for `serve`.
Nothing is sent until somebody resumes: what was pending in the backup may have been sent since.")]
pub(crate) struct RestoreArgs {
    /// The backup; FILE.sha256 is checked if it exists
    file: PathBuf,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) fn run(
    args: &RestoreArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let settings = Found::collect(&args.settings, environment, &[])?.settings()?;
    let embedded = embedded(&settings)?;
    let digest = check_digest(&args.file)?;
    let report =
        inspect_copy(&args.file).with_context(|| format!("{} is not a valid store", args.file.display()))?;
    let restored = block_on(restore(&args.file, &report, &settings, embedded));
    let restored = restored.context("cannot start the runtime")??;
    write!(out, "{}", sentence(args, &settings, embedded, digest, &restored))?;
    Ok(ExitCode::SUCCESS)
}

/// The embedded store to restore. A backup is the file of an embedded store, so it cannot be restored into another kind of store.
fn embedded(settings: &Settings) -> Result<&EmbeddedSettings, ConfigError> {
    match &settings.storage.store {
        StoreSettings::Embedded(embedded) => Ok(embedded),
        StoreSettings::Postgres(database) => Err(ConfigError::Conflict(format!(
            "restore {} with PostgreSQL's tools: pg_restore for a dump, or a base backup",
            database.url.label()
        ))),
    }
}

/// The check of the backup's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Right,
    NotThere,
}

fn check_digest(file: &Path) -> anyhow::Result<Digest> {
    let path = with_digest(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Digest::NotThere),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let expected = text.split_whitespace().next().unwrap_or_default();
    let sha256 = sha256(file).with_context(|| format!("cannot read {}", file.display()))?;
    let is_same = sha256.eq_ignore_ascii_case(expected);
    ensure!(is_same, "the SHA-256 in {} does not match {}", path.display(), file.display());
    Ok(Digest::Right)
}

/// A file's digest in hex.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sha256.finalize())),
            read => sha256.update(&buffer[..read]),
        }
    }
}

/// Temporary files, removed on drop unless they were renamed.
struct Prepared {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // The lock file of the copy is not renamed, so it is always removed.
        let left: &[&str] = if self.is_kept { &[".lock"] } else { &["", "-wal", "-shm", ".lock"] };
        for suffix in left {
            // Leftovers are useless, and the next restore replaces them.
            let _ = std::fs::remove_file(beside(&self.path, suffix));
        }
    }
}

/// The restored store.
struct Restored {
    report: CopyReport,
    /// The tables that differ from the backup.
    changed: Vec<String>,
    /// The reason why sending is held.
    reason: String,
}

/// Restores the backup. `backup` describes its contents.
async fn restore(
    file: &Path,
    backup: &CopyReport,
    settings: &Settings,
    embedded: &EmbeddedSettings,
) -> anyhow::Result<Restored> {
    let store_path = &embedded.file;
    let _folder = DataFolder::open(&settings.storage.data)?;
    for suffix in ["", "-wal"] {
        let path = beside(store_path, suffix);
        // A dangling symbolic link counts as an existing file.
        ensure!(
            path.symlink_metadata().is_err(),
            "{} exists already: restore into an empty data folder",
            path.display()
        );
    }
    let mut prepared = Prepared { path: beside(store_path, ".restoring"), is_kept: false };
    copy(file, &prepared.path).with_context(|| format!("cannot write {}", prepared.path.display()))?;
    let store = SqliteStore::open(&prepared.path).context("cannot open the copy")?;
    let stored = store.data_keys().await?;
    if !stored.is_empty() {
        let source = KeySource::new(settings.keys.clone(), &settings.storage.data);
        source.find(&stored).await.context("the backup needs the master key of its time")?;
    }
    let now = SystemClock.now();
    let reason = format!("restored from a backup made at {}", seconds(&rfc3339(made_at(file, now)?)));
    let reason = hold(&store, file, &reason, now).await?;
    // Closing the store moves the write-ahead log into the one file.
    drop(store);
    let left = beside(&prepared.path, "-wal");
    ensure!(!left.exists(), "{} was not written into its store", left.display());
    let report = describe_copy(&prepared.path).context("cannot read the copy")?;
    let changed = changed(backup, &report)?;
    put_in_place(&prepared.path, store_path)
        .with_context(|| format!("cannot write {}", store_path.display()))?;
    prepared.is_kept = true;
    Ok(Restored { report, changed, reason })
}

/// The tables of a restored store that differ from the backup.
///
/// # Errors
/// If a table differs although no migration changed it.
fn changed(backup: &CopyReport, restored: &CopyReport) -> anyhow::Result<Vec<String>> {
    let differs = |table: &&TableReport| !backup.tables.contains(table);
    let changed: Vec<String> =
        restored.tables.iter().filter(differs).map(|table| table.table.clone()).collect();
    let is_expected = |table: &String| WRITTEN.contains(&table.as_str());
    let is_whole = backup.tables.len() == restored.tables.len() && changed.iter().all(is_expected);
    ensure!(
        is_whole || backup.schema != restored.schema,
        "the restored tables are not those of the backup: {}",
        changed.join(", ")
    );
    Ok(changed)
}

/// Holds sending and notes the restore in the audit log. Returns the reason of the hold: a store that was held at the time
/// of the backup keeps its own reason.
async fn hold(store: &SqliteStore, file: &Path, reason: &str, now: Timestamp) -> anyhow::Result<String> {
    let mut entropy = SystemEntropy::seeded()?;
    let audit = AuditEntry {
        id: AuditId::generate(now, &mut entropy),
        at: now,
        organization: None,
        actor: ACTOR.into(),
        token: None,
        remote: None,
        action: ACTION,
        target: file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into(),
        fields: vec!["sending"],
    };
    let is_held_now =
        store.hold_sending(&SendingHold { since: now, reason: reason.into() }, audit.clone()).await?;
    if is_held_now {
        return Ok(reason.to_owned());
    }
    store.append_audit(AuditEntry { fields: Vec::new(), ..audit }).await?;
    let before = store.sending_hold().await?.context("sending was held a moment ago")?;
    Ok(before.reason.into())
}

/// The time of the last write to the file: the time of the backup, unless a later copy changed it.
fn made_at(file: &Path, now: Timestamp) -> anyhow::Result<Timestamp> {
    let modified = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    let modified = modified.with_context(|| format!("cannot read {}", file.display()))?;
    let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_millis(0).after(since_epoch).min(now))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // An earlier restore may have left a file.
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut copied = options.open(to)?;
    io::copy(&mut File::open(from)?, &mut copied)?;
    copied.sync_all()
}

fn put_in_place(prepared: &Path, store: &Path) -> io::Result<()> {
    File::open(prepared)?.sync_all()?;
    std::fs::rename(prepared, store)?;
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sentence(
    args: &RestoreArgs,
    settings: &Settings,
    embedded: &EmbeddedSettings,
    digest: Digest,
    restored: &Restored,
) -> String {
    let Restored { report, changed, reason } = restored;
    let digest = match digest {
        Digest::Right => "its digest is right",
        Digest::NotThere => "there is no .sha256 beside it, so its digest was not checked",
    };
    format!(
        "Restored {} to {}; {digest}.\n\n{}\nAll are as the backup has them, but for {}.\n\
         Sending is held: {reason}.\n\
         Start the server, look around, then have it send again:\n\n  \
         stackbell serve --data {}\n  stackbell sending resume\n",
        args.file.display(),
        embedded.file.display(),
        tables(report),
        changed.join(" and "),
        settings.storage.data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_checked_when_it_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("copy.db");
        std::fs::write(&file, "bytes").expect("written");
        assert_eq!(check_digest(&file).expect("none"), Digest::NotThere);
        let write = |digest: &str| {
            std::fs::write(with_digest(&file), format!("{digest}  copy.db\n")).expect("written");
        };
        write(&hex(&Sha256::digest("bytes")));
        assert_eq!(check_digest(&file).expect("right"), Digest::Right);
        write(&hex(&Sha256::digest("other")));
        check_digest(&file).expect_err("wrong");
    }

    #[test]
    fn a_table_that_nobody_was_to_change_is_an_error() {
        let report = |schema, digests: [u8; 3]| {
            let table = |(table, byte): (&str, u8)| TableReport {
                table: table.to_owned(),
                rows: 1,
                sha256: [byte; 32],
            };
            CopyReport {
                schema,
                tables: ["audit", "events", "meta"].into_iter().zip(digests).map(table).collect(),
            }
        };
        let backup = report(1, [1, 1, 1]);
        assert_eq!(changed(&backup, &report(1, [2, 1, 2])).expect("expected"), ["audit", "meta"]);
        let error = changed(&backup, &report(1, [1, 2, 2])).expect_err("refused");
        assert_eq!(error.to_string(), "the restored tables are not those of the backup: events, meta");
        assert_eq!(changed(&backup, &report(2, [1, 2, 1])).expect("migrated"), ["events"]);
        let mut less = report(1, [1, 1, 1]);
        less.tables.pop();
        changed(&backup, &less).expect_err("one is missing");
    }

    #[test]
    fn an_unfinished_restore_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.restoring");
        let check = |is_kept, expected: &[&str]| {
            for suffix in ["", "-wal", ".lock"] {
                std::fs::write(beside(&path, suffix), "").expect("written");
            }
            drop(Prepared { path: path.clone(), is_kept });
            let left =
                std::fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("read").file_name());
            let mut left: Vec<_> = left.collect();
            left.sort();
            assert_eq!(left, expected);
        };
        check(true, &["a.restoring", "a.restoring-wal"]);
        check(false, &[]);
    }
}
