//! The data folder, and the store of the settings.
//!
//! An embedded store belongs to this process alone and is usually in the folder. A database is shared by nodes; each node's
//! folder then holds only its lock and temporary files.

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

/// An open store and its locked data folder.
pub struct Opened {
    // Fields are dropped in this order.
    /// The store.
    pub store: Arc<dyn Store>,
    /// The store's backups, if it can make them.
    pub backup: Option<Arc<dyn Backup>>,
    /// The folder.
    pub folder: DataFolder,
}

/// Locks the data folder and opens the store. Makes the folder and an embedded store if they are missing.
///
/// # Errors
/// If another process has the folder or the file, if one of them cannot be used, or if a database cannot be reached or was not
/// migrated.
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
            // SQLite reports a file that cannot grow as another error.
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
    opened.await.context("opening the store was interrupted")?
}

/// Fails at once if the database cannot be reached: the supervisor restarts the server, and the log has the reason.
async fn open_database(data: PathBuf, database: &DatabaseSettings) -> anyhow::Result<Opened> {
    let folder = tokio::task::spawn_blocking(move || DataFolder::open(&data)).await;
    let folder = folder.context("taking the data folder was interrupted")??;
    let store = PostgresStore::open(database_options(database).await?).await.map_err(told_of_trust)?;
    Ok(Opened { store: Arc::new(store), backup: None, folder })
}

/// Adds an explanation to a database error if TLS caused it.
pub fn told_of_trust<E: Error + Send + Sync + 'static>(error: E) -> anyhow::Error {
    let reason = tls_failure_in(&error, "database_ca_file");
    let error = anyhow::Error::new(error);
    match reason {
        Some(reason) => error.context(format!("no trusted connection to the database: {reason}")),
        None => error,
    }
}

/// The options for a connection to a database.
///
/// # Errors
/// If the trusted authorities cannot be read.
pub async fn database_options(database: &DatabaseSettings) -> anyhow::Result<PostgresOptions> {
    let ca_file = database.ca_file.clone();
    // Unreadable authorities of the system are not logged here, because the client for endpoints logs them.
    let tls = tokio::task::spawn_blocking(move || client_tls(ca_file.as_deref())).await;
    Ok(PostgresOptions {
        url: database.url.clone(),
        tls: tls
            .context("reading the authorities was interrupted")?
            .context("database_ca_file cannot be used")?,
        pooling: database.pooling,
        connections_max: database.connections_max,
        lease_clock: LeaseClock::Database,
    })
}
