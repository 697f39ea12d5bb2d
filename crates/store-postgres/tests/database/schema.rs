//! Which programs can use which schema.

use stackbell_store::maintenance::Maintenance as _;
use stackbell_store_postgres::{OpenError, PostgresStore};
use stackbell_testkit::Postgres;
use tokio::task::JoinSet;

use crate::support::{Site, options};

/// Programs that migrate at the same time create one schema.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_migrations_run_one_after_the_other() {
    let database = Postgres::shared().await.database().await;
    assert_eq!(PostgresStore::version(&options(&database.url())).await.expect("version"), 0);
    let mut migrations = JoinSet::new();
    for _ in 0..4 {
        let url = database.url();
        migrations.spawn(async move { PostgresStore::migrate(&options(&url)).await.expect("migrate") });
    }
    assert_eq!(migrations.join_all().await, [PostgresStore::newest_version(); 4]);
    PostgresStore::open(options(&database.url())).await.expect("open").check().await.expect("check");
}

/// A database without migrations is refused, with the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_refused() {
    let database = Postgres::shared().await.database().await;
    let error = PostgresStore::open(options(&database.url())).await.expect_err("refused");
    assert!(matches!(&error, OpenError::NotMigrated { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("stackbell migrate"), "{error}");
}

/// A user can go back by one release: an older program can use a schema with additions. It refuses a schema from which something
/// was removed. The check changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_can_be_used_if_it_allows_it() {
    let site = Site::new().await;
    let next = PostgresStore::newest_version() + 1;
    site.database
        .psql(&format!("UPDATE meta SET version = {next}; ALTER TABLE organizations ADD COLUMN motto text"));

    site.store().await.check().await.expect("it works with it");
    let url = site.database.url();
    assert_eq!(PostgresStore::migrate(&options(&url)).await.expect("nothing to do"), next);

    site.database.psql(&format!("UPDATE meta SET oldest_reader = {next}"));
    for refused in [
        PostgresStore::open(options(&url)).await.map(drop),
        PostgresStore::migrate(&options(&url)).await.map(drop),
    ] {
        let error = refused.expect_err("refused");
        assert!(matches!(&error, OpenError::TooNew { .. }), "{error}");
        assert!(error.to_string().contains("use a later version"), "{error}");
    }
    assert_eq!(site.database.psql("SELECT version FROM meta"), next.to_string());
}

/// A server that can lose committed data is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_sync_is_refused() {
    let careless = stackbell_testkit::PostgresSettings::default().with("fsync", "off");
    let server = Postgres::start(careless).await;
    let url = server.url("postgres");
    PostgresStore::migrate(&options(&url)).await.expect("migrate");
    let error = PostgresStore::open(options(&url)).await.expect_err("refused");
    assert!(matches!(&error, OpenError::NotDurable { setting: "fsync", .. }), "{error}");
}
