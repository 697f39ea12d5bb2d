//! The schema. Only `migrate` creates and migrates it; every node checks it at its start.
//!
//! A migration only adds to the schema (expand), so that nodes of the version before can run with it. A later version removes
//! what those nodes needed (contract), and sets `meta.oldest_reader`.

use tokio_postgres::Client;

use crate::error::OpenError;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All migrations in order; the first one leads to version 1. Append-only: a published migration is never edited.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_initial", sql: include_str!("../migrations/0001_initial.sql") },
    Migration { name: "0002_copies", sql: include_str!("../migrations/0002_copies.sql") },
    Migration { name: "0003_retry_after", sql: include_str!("../migrations/0003_retry_after.sql") },
    Migration { name: "0004_source_cursors", sql: include_str!("../migrations/0004_source_cursors.sql") },
    Migration { name: "0005_whole_copies", sql: include_str!("../migrations/0005_whole_copies.sql") },
];

/// The key of the advisory lock for migrations. No other lock uses it.
const MIGRATION_LOCK: i64 = 0x4265_6c6d;

/// The version to which the last migration leads.
pub(crate) fn newest_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful")
}

/// The versions in a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Versions {
    version: u32,
    oldest_reader: u32,
}

/// Runs the missing migrations, each in its own transaction, one program at a time. Returns the new version.
pub(crate) async fn migrate(client: &Client, database: &str) -> Result<u32, OpenError> {
    loop {
        let found = check_readable(client, database).await?;
        let Some(migration) = MIGRATIONS.get(found as usize) else { return Ok(found) };
        let migrated = run(client, found, migration).await;
        match migrated {
            Ok(true) => tracing::info!(migration = migration.name, "the store is migrated"),
            // Another program has run it.
            Ok(false) => {}
            Err(source) => {
                let _ = client.batch_execute("ROLLBACK").await;
                return Err(OpenError::Migration {
                    database: database.to_owned(),
                    name: migration.name,
                    source,
                });
            }
        }
    }
}

/// Runs a migration; false if the database has another version by now.
async fn run(client: &Client, found: u32, migration: &Migration) -> Result<bool, tokio_postgres::Error> {
    // The duration of a migration is not limited, but its wait for locks is, because other transactions queue behind it.
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'").await?;
    client.batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    if versions(client).await?.map_or(0, |versions| versions.version) != found {
        client.batch_execute("ROLLBACK").await?;
        return Ok(false);
    }
    client.batch_execute(migration.sql).await?;
    client.batch_execute(&format!("UPDATE meta SET version = {}", found + 1)).await?;
    client.batch_execute("COMMIT").await?;
    Ok(true)
}

/// Returns the version of the schema; 0 if there is none.
///
/// # Errors
/// [`OpenError::TooNew`] if this program cannot use it.
pub(crate) async fn check_readable(client: &Client, database: &str) -> Result<u32, OpenError> {
    let known = newest_version();
    match found(client, database).await? {
        Some(Versions { version, oldest_reader }) if oldest_reader > known => {
            Err(OpenError::TooNew { database: database.to_owned(), found: version, known })
        }
        versions => Ok(versions.map_or(0, |versions| versions.version)),
    }
}

/// Checks whether a node can use the schema.
///
/// # Errors
/// [`OpenError::NotMigrated`], [`OpenError::TooNew`].
pub(crate) async fn check_usable(client: &Client, database: &str) -> Result<(), OpenError> {
    let (found, needed) = (check_readable(client, database).await?, newest_version());
    if found < needed {
        return Err(OpenError::NotMigrated { database: database.to_owned(), found, needed });
    }
    Ok(())
}

/// Checks that the database is not the target of an unfinished copy.
///
/// # Errors
/// [`OpenError::CopyUnfinished`].
pub(crate) async fn check_whole(client: &Client, database: &str) -> Result<(), OpenError> {
    let unfinished = client.query_typed("SELECT source FROM copies WHERE finished_at IS NULL", &[]).await;
    let origin = unfinished.and_then(|rows| rows.first().map(|row| row.try_get(0)).transpose());
    match origin.map_err(|source| OpenError::Database { database: database.to_owned(), source })? {
        Some(origin) => Err(OpenError::CopyUnfinished { database: database.to_owned(), origin }),
        None => Ok(()),
    }
}

async fn found(client: &Client, database: &str) -> Result<Option<Versions>, OpenError> {
    let found = versions(client).await;
    found.map_err(|source| OpenError::Database { database: database.to_owned(), source })
}

async fn versions(client: &Client) -> Result<Option<Versions>, tokio_postgres::Error> {
    let there = client.query_typed_one("SELECT to_regclass('meta') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_typed_one("SELECT version, oldest_reader FROM meta", &[]).await?;
    let number =
        |column: usize| row.try_get::<_, i64>(column).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(Some(Versions { version: number(0)?, oldest_reader: number(1)? }))
}

/// Refuses a database that may lose committed data.
pub(crate) async fn check_durable(client: &Client, database: &str) -> Result<(), OpenError> {
    for setting in ["fsync", "full_page_writes"] {
        let row = client.query_typed_one(&format!("SHOW {setting}"), &[]).await;
        let value = row.and_then(|row| row.try_get::<_, String>(0));
        let value = value.map_err(|source| OpenError::Database { database: database.to_owned(), source })?;
        if value == "off" {
            return Err(OpenError::NotDurable { database: database.to_owned(), setting });
        }
    }
    Ok(())
}
