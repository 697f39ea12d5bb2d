use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use stackbell_store::Store;
use stackbell_store::conformance::Harness;
use stackbell_store::conformance::fixtures::World;
use stackbell_store_postgres::{LeaseClock, Pooling, PostgresOptions, PostgresStore};
use stackbell_testkit::{Database, PgBouncer, Postgres};

/// A database for stores, one after the other or at the same time.
pub(crate) struct Site {
    pub(crate) database: Database,
    /// The port of a proxy in front of the server.
    port: Option<u16>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::on(migrated(&Postgres::shared().await).await)
    }

    pub(crate) fn on(database: Database) -> Self {
        Self { database, port: None }
    }

    /// Uses another port.
    pub(crate) fn at(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    pub(crate) async fn store(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(self.options()).await.expect("the store opens"))
    }

    /// Opens a store that can be the target of a copy.
    pub(crate) async fn store_to_copy(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open_to_copy(self.options()).await.expect("the store opens"))
    }

    /// Opens such a store behind a pooler that gives each transaction another connection.
    pub(crate) async fn store_behind(&self, pooler: &PgBouncer) -> Arc<PostgresStore> {
        let options =
            PostgresOptions { pooling: Pooling::Transaction, ..options(&pooler.url(&self.database)) };
        Arc::new(PostgresStore::open_to_copy(options).await.expect("the store opens"))
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        let url = self.database.url();
        let url = match self.port {
            Some(port) => url.replace(&format!(":{}/", self.database.server().port()), &format!(":{port}/")),
            None => url,
        };
        options(&url)
    }

    /// Checks that the stored counts of organizations are exact.
    pub(crate) fn check_counts(&self) {
        assert_eq!(self.database.psql(MISCOUNTED), "");
    }

    /// The time of the database's clock, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.database.psql("SELECT now_ms()").parse().expect("a number")
    }

    /// Drops the partitions of all days, which are empty.
    pub(crate) fn forget_days(&self) {
        self.database.psql(
            "DO $$ DECLARE day text; BEGIN FOR day IN SELECT relname FROM pg_class WHERE relkind = 'r' \
             AND relname ~ '_d[0-9]+$' LOOP EXECUTE 'DROP TABLE ' || day; END LOOP; END $$",
        );
    }

    /// A world whose clock starts at about the time of the database's clock.
    pub(crate) async fn world_of_today(&self) -> World {
        let world = World::open(self).await;
        let begun = u64::try_from(world.now().as_millis()).expect("after 1970");
        world.pass(Duration::from_millis(self.now_ms() - begun));
        world
    }
}

#[async_trait]
impl Harness for Site {
    async fn open(&self) -> Arc<dyn Store> {
        self.store().await
    }

    fn is_embedded(&self) -> bool {
        false
    }
}

/// Selects the organizations whose stored counts differ from the counts of their rows.
const MISCOUNTED: &str = include_str!("../miscounted.sql");

pub(crate) async fn migrated(server: &Postgres) -> Database {
    let migrate = |url: String| async move {
        PostgresStore::migrate(&options(&url)).await.expect("it is migrated");
    };
    server.database_like("migrated", migrate).await
}

/// Options with leases by the database's clock, as in production.
pub(crate) fn options(url: &str) -> PostgresOptions {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    PostgresOptions {
        url: url.parse().expect("a URL"),
        tls: Arc::new(tls),
        pooling: Pooling::Session,
        connections_max: 8,
        lease_clock: LeaseClock::Database,
    }
}
