//! A database for each case.

use std::sync::Arc;

use async_trait::async_trait;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use stackbell_store::Store;
use stackbell_store::conformance::Harness;
use stackbell_store_postgres::{LeaseClock, Pooling, PostgresOptions, PostgresStore};
use stackbell_testkit::{Database, PgBouncer, Postgres};
use tokio::sync::OnceCell;

pub(crate) struct DatabaseHarness {
    pooling: Pooling,
    database: OnceCell<Database>,
}

impl DatabaseHarness {
    pub(crate) fn new(pooling: Pooling) -> Self {
        Self { pooling, database: OnceCell::new() }
    }

    async fn url(&self) -> String {
        let database = self.database.get_or_init(migrated).await;
        match self.pooling {
            Pooling::Session => database.url(),
            Pooling::Transaction => PgBouncer::shared().await.url(database),
        }
    }
}

async fn migrated() -> Database {
    let server = Postgres::shared().await;
    let migrate = |url: String| async move {
        PostgresStore::migrate(&options(&url, Pooling::Session)).await.expect("it is migrated");
    };
    server.database_like("migrated", migrate).await
}

fn options(url: &str, pooling: Pooling) -> PostgresOptions {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    PostgresOptions {
        url: url.parse().expect("a URL"),
        tls: Arc::new(tls),
        pooling,
        connections_max: PostgresStore::CONNECTIONS_MIN,
        lease_clock: LeaseClock::Caller,
    }
}

#[async_trait]
impl Harness for DatabaseHarness {
    async fn open(&self) -> Arc<dyn Store> {
        let options = options(&self.url().await, self.pooling);
        Arc::new(PostgresStore::open(options).await.expect("the store opens"))
    }

    fn is_embedded(&self) -> bool {
        false
    }
}

/// Selects the organizations whose stored counts differ from the counts of their rows.
const MISCOUNTED: &str = include_str!("../miscounted.sql");

/// Checks after each case that the stored counts are exact.
impl Drop for DatabaseHarness {
    fn drop(&mut self) {
        if let Some(database) = self.database.get()
            && !std::thread::panicking()
        {
            assert_eq!(database.psql(MISCOUNTED), "");
        }
    }
}
