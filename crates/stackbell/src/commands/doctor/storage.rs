//! The data folder, its disk, an embedded store and its keys.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use stackbell_config::{EmbeddedSettings, Settings};
use stackbell_model::{Clock as _, Timestamp};
use stackbell_server::data_folder::{DataFolderError, Holder, is_open_to_others};
use stackbell_server::disk::Room;
use stackbell_server::keyring::{KeySource, Opening};
use stackbell_store::Store;
use stackbell_store_sqlite::SqliteStore;
use stackbell_system::SystemClock;

use super::{Fail, Finding, Fine, Report, Warn, failed};

/// A clock before 2026-01-01T00:00:00Z was never set, because all releases of this program are newer.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// The store's files may be newer than the clock by this much. Corrections by network time are far smaller.
const AHEAD_MAX: Duration = Duration::from_secs(60);

pub(super) fn data_folder(path: &Path) -> Finding {
    let shown = path.display();
    match is_open_to_others(path) {
        Ok(false) => Fine(format!("only its owner can read {shown}")),
        Ok(true) => Warn(format!("other users can read {shown}, which holds secrets: `chmod 700 {shown}`")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Warn(format!("{shown} does not exist: `stackbell serve` makes it"))
        }
        Err(error) => Fail(format!("{shown} cannot be read: {error}")),
    }
}

/// The free space on the disk of the store.
fn disk(folder: &Path) -> Finding {
    let found =
        folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(path) = found.into_iter().find(|path| path.exists()) else {
        return Warn(format!("there is no folder above {}", folder.display()));
    };
    match Room::at(path) {
        Ok(room) if room.is_used_up() => {
            Fail("no room is left: no event is accepted, and no server can start; make room".to_owned())
        }
        Ok(room) if room.is_low() => {
            Warn(format!("{} MiB are left, and without room no event is accepted", room.free_mib()))
        }
        Ok(room) => Fine(format!("{} MiB are left", room.free_mib())),
        Err(error) => Warn(format!("the system does not say how much room is left: {error}")),
    }
}

pub(super) fn lock(holder: Result<Holder, DataFolderError>) -> Finding {
    match holder {
        Ok(Holder::Nobody) => Fine("no process uses the data folder".to_owned()),
        Ok(Holder::Process(Some(id))) => Fine(format!("process {id} uses the data folder")),
        Ok(Holder::Process(None)) => Fine("a process uses the data folder".to_owned()),
        Err(error) => failed(error),
    }
}

/// Checks the clock. Without another clock the only check is that it is not behind the store's files.
fn clock(store: &Path, now: Timestamp) -> Finding {
    if now < EARLIEST {
        return Fail(
            "the system's clock was never set: retries, expiry and retention depend on it".to_owned(),
        );
    }
    let log = PathBuf::from(format!("{}-wal", store.display()));
    let written = [store, &log].into_iter().filter_map(written_at).max();
    match written.map(|written| written.since(now)) {
        Some(ahead) if ahead > AHEAD_MAX => Warn(format!(
            "the store was written {} s from now: the clock was set back, or was wrong before",
            ahead.as_secs()
        )),
        Some(_) => Fine("not behind the store's last write".to_owned()),
        None => Fine("nothing was written yet to compare it with".to_owned()),
    }
}

fn written_at(path: &Path) -> Option<Timestamp> {
    let since = path.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp::from_millis)
}

/// Examines the disk, the clock and the file of an embedded store.
pub(super) async fn examine(
    settings: &Settings,
    embedded: &EmbeddedSettings,
    is_running: bool,
    report: &mut Report<'_>,
) -> io::Result<()> {
    report.add("disk", disk(embedded.folder()))?;
    if is_running {
        report.add("store", Fine("not checked, because the running process uses it".to_owned()))?;
        report.add("sending", Fine("not checked: `stackbell sending status` asks the server".to_owned()))?;
    } else {
        store(settings, &embedded.file, report).await?;
    }
    report.add("clock", clock(&embedded.file, SystemClock.now()))
}

async fn store(settings: &Settings, file: &Path, report: &mut Report<'_>) -> io::Result<()> {
    let shown = file.display();
    let newest = SqliteStore::newest_version();
    match SqliteStore::version(file) {
        Ok(None) => {
            return report.add("store", Warn(format!("{shown} does not exist: `stackbell serve` makes it")));
        }
        Ok(Some(version)) if version < newest => {
            let text = format!(
                "{shown} is at version {version} of {newest}: `stackbell migrate`, or the next start, brings it up to date"
            );
            return report.add("store", Warn(text));
        }
        Ok(Some(_)) => {}
        Err(error) => return report.add("store", failed(error)),
    }
    let path = file.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path).map(Arc::new)).await;
    let opened = opened.map_err(anyhow::Error::new).and_then(|opened| opened.map_err(anyhow::Error::new));
    let store: Arc<dyn Store> = match opened {
        Ok(store) => store,
        Err(error) => return report.add("store", failed(error)),
    };
    report.add(
        "store",
        match store.check().await {
            Ok(()) => Fine(format!("{shown} can be read and written")),
            Err(error) => failed(error),
        },
    )?;
    report.add("master key", master_key(settings, store.as_ref()).await)?;
    report.add("sending", sending(store.as_ref()).await)
}

pub(super) async fn master_key(settings: &Settings, store: &dyn Store) -> Finding {
    let stored = match store.data_keys().await {
        Ok(stored) => stored,
        Err(error) => return failed(error),
    };
    let source = KeySource::new(settings.keys.clone(), &settings.storage.data);
    if stored.is_empty() {
        return match source.read().await {
            Ok(_) => Fine("the store holds no data keys yet".to_owned()),
            Err(error) => failed(error),
        };
    }
    match source.find(&stored).await {
        Ok(Opening::Current(_)) => Fine("opens the store's data keys".to_owned()),
        Ok(Opening::Next(_)) => {
            Warn("a key rotation was interrupted: the next start of `stackbell serve` completes it".to_owned())
        }
        Ok(Opening::Previous { .. }) => Warn(
            "previous_master_key opens the store: the next start of `stackbell serve` seals it with the new key"
                .to_owned(),
        ),
        Err(error) => failed(error),
    }
}

pub(super) async fn sending(store: &dyn Store) -> Finding {
    match store.sending_hold().await {
        Ok(None) => Fine("not held".to_owned()),
        Ok(Some(hold)) => Warn(format!(
            "is held ({}): `stackbell sending resume` ends the hold, once the server runs",
            hold.reason
        )),
        Err(error) => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(finding: &Finding) -> &'static str {
        match finding {
            Fine(_) => "ok",
            Warn(_) => "warn",
            Fail(_) => "fail",
        }
    }

    #[test]
    fn the_clock_is_compared_with_what_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("store.db");
        let check = |now: Timestamp, expected: &str| {
            let found = clock(&file, now);
            assert_eq!(word(&found), expected, "{now:?}");
        };
        check(EARLIEST, "ok");
        check(Timestamp::from_millis(0), "fail");
        std::fs::write(&file, "").expect("written");
        let written = written_at(&file).expect("written");
        check(written.max(EARLIEST), "ok");
        check(written.after(Duration::from_secs(3600)).max(EARLIEST), "ok");
        std::fs::write(folder.path().join("store.db-wal"), "").expect("written");
        let year_2100 = UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        let log = std::fs::File::options().write(true).open(folder.path().join("store.db-wal"));
        log.and_then(|log| log.set_modified(year_2100)).expect("set");
        check(written.max(EARLIEST), "warn");
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_ne!(word(&disk(&folder.path().join("a/b/c"))), "fail");
        assert_ne!(word(&disk(Path::new("not-there-at-all"))), "fail");
    }
}
