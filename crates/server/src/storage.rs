//! The data folder, and the store that the settings name.
//!
//! An embedded store is in the folder, or at least this process's alone. A database is shared: then the folder is this
//! node's, with its lock and what is temporary, and nothing else in it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use stackbell_config::{DatabaseSettings, EmbeddedSettings, StorageSettings, StoreSettings};
use stackbell_store::Store;
use stackbell_store::backup::Backup;
use stackbell_store_postgres::{LeaseClock, PostgresOptions, PostgresStore};
use stackbell_store_sqlite::{SqliteStore, has_no_room};
use stackbell_system::{client_tls, tls_failure_in};

use crate::data_folder::DataFolder;
use crate::disk::Room;

/// A store that this process has, and a folder that no other has.
pub struct Opened {
    // In the order in which they are to end.
    /// The store.
    pub store: Arc<dyn Store>,
    /// The same, as what makes copies, where it does.
    pub backup: Option<Arc<dyn Backup>>,
    /// The folder.
    pub folder: DataFolder,
}

/// Takes the data folder and opens the store. Makes the folder and an embedded store where there are none.
///
/// # Errors
/// When another process has the folder or the file; when one of them cannot be used; when a database cannot be reached or
/// was not migrated.
pub async fn open(storage: &StorageSettings) -> anyhow::Result<Opened> {
    match &storage.store {
        StoreSettings::Embedded(embedded) => open_embedded(storage.data.clone(), embedded.clone()).await,
        StoreSettings::Postgres(database) => open_database(storage.data.clone(), database).await,
    }
}

async fn open_embedded(data: PathBuf, EmbeddedSettings { file }: EmbeddedSettings) -> anyhow::Result<Opened> {
    let opened = tokio::task::spawn_blocking(move || {
        let folder = DataFolder::open(&data)?;
        let store = SqliteStore::open(&file).with_context(|| {
            // SQLite has other words for a file that cannot grow.
            let embedded = EmbeddedSettings { file: file.clone() };
            let is_full = Room::at(embedded.folder()).is_ok_and(Room::is_used_up) || has_no_room(&file);
            let remedy = if is_full {
                "; there is no room for it: the disk is full, or a quota or the limit of file sizes (ulimit -f) is reached; make \
                 room, and start again"
            } else {
                ""
            };
            format!("cannot open the store {}{remedy}", file.display())
        })?;
        let store = Arc::new(store);
        let backup: Arc<dyn Backup> = Arc::<SqliteStore>::clone(&store);
        anyhow::Ok(Opened { store, backup: Some(backup), folder })
    });
    opened.await.context("opening the store was cut")?
}

/// Fails at once when the database is away: whoever starts servers starts this one again, and sees why.
async fn open_database(data: PathBuf, database: &DatabaseSettings) -> anyhow::Result<Opened> {
    let folder = tokio::task::spawn_blocking(move || DataFolder::open(&data)).await;
    let folder = folder.context("taking the data folder was cut")??;
    let store = PostgresStore::open(database_options(database).await?).await.map_err(told_of_trust)?;
    Ok(Opened { store: Arc::new(store), backup: None, folder })
}

/// Puts what TLS has against a database's server into words, before the error itself.
pub fn told_of_trust<E: Error + Send + Sync + 'static>(error: E) -> anyhow::Error {
    let reason = tls_failure_in(&error, "database_ca_file");
    let error = anyhow::Error::new(error);
    match reason {
        Some(reason) => error.context(format!("no trusted connection to the database: {reason}")),
        None => error,
    }
}

/// How to use a database.
///
/// # Errors
/// When the authorities to trust cannot be read.
pub async fn database_options(database: &DatabaseSettings) -> anyhow::Result<PostgresOptions> {
    let ca_file = database.ca_file.clone();
    // Who serves is told by the client for endpoints which of the system's authorities cannot be read.
    let tls = tokio::task::spawn_blocking(move || client_tls(ca_file.as_deref())).await;
    Ok(PostgresOptions {
        url: database.url.clone(),
        tls: tls.context("reading the authorities was cut")?.context("database_ca_file cannot be used")?,
        pooling: database.pooling,
        connections_max: database.connections_max,
        lease_clock: LeaseClock::Database,
    })
}
