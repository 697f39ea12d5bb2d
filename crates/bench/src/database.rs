//! Empty databases on a PostgreSQL server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use url::Url;

/// Creates empty databases. Clones create them on the same server.
#[derive(Clone)]
pub(crate) struct Databases {
    server: Url,
    made: Arc<AtomicU32>,
}

impl Databases {
    /// Uses the server with this URL, without TLS. Its user must be allowed to create databases.
    pub(crate) fn on(url: &str) -> anyhow::Result<Self> {
        let server = Url::parse(url).context("the store is neither 'sqlite' nor the URL of a PostgreSQL")?;
        Ok(Self { server, made: Arc::default() })
    }

    /// Creates an empty database, and returns its URL.
    pub(crate) async fn create(&self) -> anyhow::Result<String> {
        let name = name(self.made.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}")).await?;
        let mut url = self.server.clone();
        url.set_path(&name);
        Ok(url.into())
    }

    /// The size in bytes of the database that was created last.
    pub(crate) async fn size(&self) -> anyhow::Result<u64> {
        let name = name(self.made.load(Ordering::Relaxed).saturating_sub(1));
        let (client, _driving) = self.connect().await?;
        let row = client.query_one("SELECT pg_database_size($1::text::name)", &[&name]).await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Drops all created databases, even with open connections.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        for number in 0..self.made.swap(0, Ordering::Relaxed) {
            self.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(number))).await?;
        }
        Ok(())
    }

    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let (client, _driving) = self.connect().await?;
        Ok(client.batch_execute(sql).await?)
    }

    async fn connect(&self) -> anyhow::Result<(Client, JoinSet<Result<(), tokio_postgres::Error>>)> {
        let (client, connection) =
            tokio_postgres::connect(self.server.as_str(), NoTls).await.context("connecting to PostgreSQL")?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        Ok((client, driving))
    }
}

fn name(number: u32) -> String {
    format!("stackbell_bench_{}_{number}", std::process::id())
}
