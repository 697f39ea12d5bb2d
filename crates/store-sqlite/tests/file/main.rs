//! The file: locking, durability, refused files, and its size (`size`).

mod size;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::event::Event;
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_store::backup::Backup as _;
use stackbell_store::commit::{AttemptOutcome, IntakeOutcome, NewDelivery, NewEvent};
use stackbell_store::conformance::Harness;
use stackbell_store::conformance::fixtures::{World, answered, attempt, leased};
use stackbell_store::maintenance::SweepPolicy;
use stackbell_store::{Store, StoreError};
use stackbell_store_sqlite::{OpenError, SqliteStore, describe_copy, inspect_copy};
use tempfile::TempDir;

struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    /// A file with the store's tables, opened by SQLite directly.
    fn tables() -> (Self, Connection) {
        let file = Self::new();
        SqliteStore::migrate(&file.path()).expect("a new file");
        let connection = Connection::open(file.path()).expect("a connection");
        (file, connection)
    }

    /// A copy of the files that are on the disk now, for another store.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for suffix in ["", "-wal"] {
            let name = format!("store.db{suffix}");
            fs::copy(self.folder.path().join(&name), copy.folder.path().join(&name)).expect("a copy");
        }
        copy
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path()).expect("the store opens"))
    }
}

fn refusal(path: &Path) -> String {
    SqliteStore::open(path)
        .expect_err("it is refused")
        .to_string()
        .replace(&path.display().to_string(), "FILE")
}

#[test]
fn a_file_has_one_store_at_a_time() {
    let file = File::new();
    let first = SqliteStore::open(&file.path()).expect("a new file");
    assert_eq!(refusal(&file.path()), "FILE is in use by another process");
    drop(first);
    SqliteStore::open(&file.path()).expect("it is free again");
}

#[test]
fn a_clean_stop_leaves_one_private_file() {
    let file = File::new();
    drop(SqliteStore::open(&file.path()).expect("a new file"));
    assert!(!file.path().with_extension("db-wal").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file.path()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn migrating_again_changes_nothing() {
    let (file, _) = File::tables();
    assert_eq!(SqliteStore::migrate(&file.path()).expect("as before"), SqliteStore::newest_version());
}

/// A user can go back to the older program with the copy that the migration makes.
#[test]
fn a_migration_keeps_a_copy_of_the_older_file() {
    let file = File::new();
    let connection = Connection::open(file.path()).expect("a file");
    connection.execute_batch(include_str!("../../migrations/0001_initial.sql")).expect("the first version");
    connection.execute_batch("PRAGMA user_version = 1; PRAGMA application_id = 0x42656c6c").expect("ours");
    drop(connection);
    let version = |path: &Path| describe_copy(path).expect("a store").schema;

    SqliteStore::migrate(&file.path()).expect("it is migrated");

    let kept = file.folder.path().join("store.db.version-1");
    assert_eq!((version(&kept), version(&file.path())), (1, SqliteStore::newest_version()));
    let files = fs::read_dir(file.folder.path()).expect("the folder");
    assert!(files.flatten().all(|entry| entry.file_name() != "store.db.unfinished"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&kept).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    // The older file can be put back and migrated again.
    fs::rename(&kept, file.path()).expect("put back");
    SqliteStore::open(&file.path()).expect("it opens");
    assert_eq!(version(&kept), 1);
}

#[test]
fn a_schema_that_is_too_new_is_refused() {
    let (file, connection) = File::tables();
    connection.execute_batch("PRAGMA user_version = 9").expect("a later version");
    SqliteStore::open(&file.path()).expect("its oldest reader is not newer than this program");
    connection.execute_batch("UPDATE meta SET oldest_reader = 8").expect("a later version");
    assert_eq!(
        refusal(&file.path()),
        "FILE has schema version 9, and this program knows none above 5: use a later version of Stackbell"
    );
}

#[test]
fn a_database_of_another_program_is_refused() {
    let file = File::new();
    let connection = Connection::open(file.path()).expect("a file");
    connection.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    assert_eq!(refusal(&file.path()), "FILE is a database of another program");
}

#[test]
fn a_damaged_file_is_refused() {
    let file = File::new();
    fs::write(file.path(), "not a database, whatever its name says\n".repeat(100)).expect("a file");
    assert_eq!(refusal(&file.path()), "FILE is not a database, or is damaged");

    let (file, connection) = File::tables();
    drop(connection);
    let whole = fs::read(file.path()).expect("the file");
    fs::write(file.path(), &whole[..whole.len() / 2]).expect("half a file");
    assert_eq!(refusal(&file.path()), "FILE is not a database, or is damaged");

    let missing = file.path().join("no-such-folder");
    assert!(matches!(SqliteStore::open(&missing), Err(OpenError::Io(_))));
}

#[tokio::test]
async fn a_kill_loses_no_committed_data() {
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    let recorded = world.pending(&webhook).await;
    world.try_next(&recorded, 200, Next::Succeeded).await;
    let waiting = world.pending(&webhook).await;
    let expected = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");

    let copy = file.copy();
    let store = copy.open().await;

    let found = store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    assert_eq!(found, expected);
    let lanes = store.due_lanes(None, 10).await.expect("due_lanes");
    assert_eq!(lanes.iter().map(|lane| lane.webhook).collect::<Vec<_>>(), [webhook.id]);
    let found = store.find_delivery(webhook.id, waiting.event_id).await.expect("find_delivery");
    assert_eq!(found.map(|stored| stored.delivery), Some(waiting));
}

/// An inspection reads only the copy's file and changes nothing.
#[tokio::test]
async fn an_inspection_leaves_the_copy_unchanged() {
    // These characters have a meaning in a URI.
    let folder = tempfile::Builder::new().prefix("50%41?#").tempdir().expect("a folder");
    let path = folder.path().join("copy.db");
    let file = File::new();
    let world = World::open(&file).await;
    world.pending(&world.webhook("hook").await).await;
    drop(world);
    SqliteStore::open(&file.path()).expect("the store opens").copy_to(&path).await.expect("a copy");
    let rows = |name: &str| {
        let report = inspect_copy(&path).expect("sound");
        assert_eq!(report, describe_copy(&path).expect("readable"));
        report.tables.iter().find(|table| table.table == name).map(|table| table.rows)
    };
    assert_eq!((rows("deliveries"), rows("attempts"), rows("no_table")), (Some(1), Some(0), None));
    assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);

    // A write-ahead log next to the copy is ignored.
    let connection = Connection::open(&path).expect("a connection");
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 77").expect("written");
    assert!(path.with_extension("db-wal").exists());
    let schema = inspect_copy(&path).expect("sound").schema;
    assert_eq!((schema, rows("deliveries")), (SqliteStore::newest_version(), Some(1)));
}

#[tokio::test]
async fn a_copy_with_a_delivery_of_a_missing_event_is_refused() {
    let file = File::new();
    let world = World::open(&file).await;
    world.pending(&world.webhook("hook").await).await;
    drop(world);
    let connection = Connection::open(file.path()).expect("a connection");
    connection.execute_batch("DELETE FROM events").expect("damage");
    drop(connection);
    let refusal = inspect_copy(&file.path()).expect_err("it is refused").to_string();
    assert!(refusal.ends_with("is damaged: a delivery refers to a missing event"), "{refusal}");
}

#[tokio::test]
async fn an_error_about_an_unreadable_row_names_it_without_its_value() {
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    let connection = Connection::open(file.path()).expect("a connection");
    connection.execute_batch("UPDATE webhooks SET format = 'hush'").expect("damage");
    match world.store.organization_webhooks(world.organization).await {
        Err(StoreError::Corrupt { table, column, id, problem }) => {
            assert_eq!((table, column, id), ("webhooks", "format", webhook.id.to_string()));
            assert!(!problem.contains("hush"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_batch_is_rolled_back_and_the_next_one_commits() {
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    let known = world.new_event();
    world.accept(&known, &[&webhook]).await;
    // Two events with one key: no caller does that, and the schema refuses it.
    let lease = world.new_lease(world.now());
    let good = NewEvent {
        event: world.new_event(),
        deliveries: vec![NewDelivery { lease: Some(lease), ..world.new_delivery(&webhook) }],
    };
    let bad = NewEvent { event: Event { key: known.key, ..world.new_event() }, deliveries: Vec::new() };
    let intakes = vec![world.intake(vec![good.clone()]).await, world.intake(vec![bad]).await];
    let batch = world.batch(intakes, Vec::new());
    let refused = world.store.commit(Arc::new(batch)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { context: "commit", .. })), "{refused:?}");

    assert_eq!(world.store.find_event(world.organization, good.event.id).await.expect("find_event"), None);
    let again = world.intake(vec![NewEvent { deliveries: Vec::new(), ..good.clone() }]).await;
    let outcome = world.commit(vec![again], Vec::new()).await.intakes.remove(0);
    assert!(matches!(outcome, IntakeOutcome::Accepted(receipts) if !receipts[0].duplicate));
    // Another delivery has the rowid of the rolled back one now, but must not have its lease.
    let next = world.pending(&webhook).await;
    let late = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    let late = leased(&next, lease.token, late, Next::Succeeded);
    assert_eq!(world.record(late).await, AttemptOutcome::Superseded);
}

#[tokio::test]
async fn a_deleted_webhook_is_removed_with_its_last_delivery() {
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    world.pending(&webhook).await;
    world.delete(&webhook).await;
    let count = || {
        let connection = Connection::open(file.path()).expect("a connection");
        connection
            .query_row("SELECT COUNT(*) FROM webhooks", [], |row| row.get::<_, i64>(0))
            .expect("a count")
    };
    let mut policy = SweepPolicy {
        retry: RetryPolicy::default(),
        finished_before: world.now(),
        audit_before: world.now(),
        rows_max: 100,
    };
    let cancelled = world.store.sweep(world.now(), &policy).await.expect("sweep");
    assert_eq!((cancelled.cancelled, cancelled.deliveries_removed, count()), (1, 0, 1));
    policy.finished_before = world.now();
    let removed = world.store.sweep(world.now(), &policy).await.expect("sweep");
    assert_eq!((removed.deliveries_removed, removed.events_removed, count()), (1, 1, 0));
}

#[test]
fn the_schema_refuses_invalid_rows() {
    let (_file, connection) = File::tables();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             INSERT INTO organizations VALUES (1, randomblob(16), 'acme', 'Acme', '', 0, 1, 0, 0);
             INSERT INTO webhooks (number, id, organization_number, scope_kind, scope_project, scope_name, name,
                 display_name, payload_url, active, format, filters, groups, standard_headers, created_at, revision,
                 failures) VALUES (1, randomblob(16), 1, 'organization', '', '', 'hook', 'Hook', 'https://a.example',
                 1, 'raw', '', '', 1, 0, 1, 0);
             INSERT INTO events VALUES (1, 1, randomblob(16), randomblob(16), 'stack', '', 'stack', 'p', 's', NULL, 0,
                 'api', NULL, 1, 1, x'00');
             INSERT INTO deliveries VALUES (1, randomblob(16), 1, 1, NULL, 'raw', 0, NULL, 0, 'pending', 0, NULL, NULL,
                 NULL, NULL, NULL);",
        )
        .expect("valid rows");
    for invalid in [
        "UPDATE deliveries SET state = 'succeeded'",
        "UPDATE deliveries SET due_at = NULL",
        "UPDATE deliveries SET finished_at = 1",
        "UPDATE deliveries SET state = 'failed', due_at = NULL, finished_at = 1",
        "UPDATE deliveries SET state = 'cancelled', due_at = NULL, finished_at = 1",
        "UPDATE deliveries SET state = 'held'",
        "UPDATE deliveries SET ping_id = randomblob(16)",
        "UPDATE deliveries SET event_number = NULL, ping_id = randomblob(16)",
        "UPDATE deliveries SET webhook_number = 2",
        "UPDATE deliveries SET id = randomblob(15)",
        "UPDATE deliveries SET attempts_spent = -1",
        "UPDATE events SET deliveries_left = 2",
        "UPDATE events SET deliveries_left = -1",
        "UPDATE events SET organization_number = 2",
        "UPDATE webhooks SET scope_kind = 'stack'",
        "UPDATE webhooks SET secret = x'00'",
        "UPDATE webhooks SET suspended_since = 1",
        "UPDATE webhooks SET deleted_at = 1",
        "UPDATE webhooks SET failures = 'many'",
        "DELETE FROM webhooks",
        "DELETE FROM organizations",
        "INSERT INTO attempts (delivery_number, webhook_number, trigger, started_at, duration, request_url,
             request_headers, outcome, text) VALUES (1, 1, 'schedule', 0, 0, '', x'00', 'answered', 'x')",
        "INSERT INTO attempts (delivery_number, webhook_number, trigger, started_at, duration, request_url,
             request_headers, outcome, text) VALUES (1, 1, 'schedule', 0, 0, '', x'00', 'unanswered', 'x')",
        "INSERT INTO attempts (delivery_number, webhook_number, trigger, started_at, duration, request_url,
             request_headers, outcome, text) VALUES (2, 1, 'schedule', 0, 0, '', x'00', 'our_fault', 'x')",
        "INSERT INTO meta (one, oldest_reader) VALUES (2, 1)",
    ] {
        let refused = connection.execute(invalid, []).map_err(|error| error.sqlite_error_code());
        assert_eq!(refused, Err(Some(rusqlite::ErrorCode::ConstraintViolation)), "{invalid}");
    }
}
