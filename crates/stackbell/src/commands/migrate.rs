//! `stackbell migrate`: the migration of the store's schema.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use stackbell_config::{
    DatabaseSettings, EmbeddedSettings, Found, SettingFlags, StorageSettings, StoreSettings,
};
use stackbell_server::data_folder::DataFolder;
use stackbell_server::storage::{database_options, told_of_trust};
use stackbell_server::telemetry;
use stackbell_store_postgres::PostgresStore;
use stackbell_store_sqlite::SqliteStore;
use stackbell_system::{Environment, block_on};

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let settings = Found::collect(flags, environment, &[])?.settings()?;
    telemetry::start(&settings.logs)?;
    let (before, after) = match &settings.storage.store {
        StoreSettings::Embedded(embedded) => migrate_file(&settings.storage, embedded)?,
        StoreSettings::Postgres(database) => {
            block_on(migrate_database(database)).context("cannot start the runtime")??
        }
    };
    let store = &settings.storage.store;
    match before {
        None => writeln!(out, "{store}: created at schema version {after}")?,
        Some(before) if before == after => writeln!(out, "{store}: at version {after} already")?,
        Some(before) => writeln!(out, "{store}: from version {before} to version {after}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The schema version before the migration, if there was one, and the version after it.
type Versions = (Option<u32>, u32);

fn migrate_file(storage: &StorageSettings, embedded: &EmbeddedSettings) -> anyhow::Result<Versions> {
    let _folder = DataFolder::open(&storage.data)?;
    let before = SqliteStore::version(&embedded.file)?;
    Ok((before, SqliteStore::migrate(&embedded.file)?))
}

/// Migrates a database. It needs no data folder: the database has its own lock for migrations.
async fn migrate_database(database: &DatabaseSettings) -> anyhow::Result<Versions> {
    let options = database_options(database).await?;
    let before = PostgresStore::version(&options).await.map_err(told_of_trust)?;
    let after = PostgresStore::migrate(&options).await?;
    Ok(((before > 0).then_some(before), after))
}
