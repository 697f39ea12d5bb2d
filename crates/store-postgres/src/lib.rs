//! The store for many nodes: one PostgreSQL database.
//!
//! - `url`, `schema`: which database, and what must be in it; `migrate` alone changes it
//! - `session`: connections, transactions, what is done anew when others were in the way
//! - `statement`, `rows`: SQL out, rows in
//! - `gate`: intakes of an organization beside each other, edits between them
//! - `ledger`: what a transaction changes of the counts, added up and written at its end
//! - `partitions`: the days that what happened is kept by
//! - by noun, the port: `commit`, `queue`, `history`, `webhooks`, `identity`, `tokens`, `keys`, `audit`,
//!   `maintenance`, `recoveries`, `statistics`, `deployments`, `instance`, `nodes`, `transfer`
//!
//! What is committed is synced before it is answered, whatever the role's `synchronous_commit` is set to: invariant 1.
//! Reads are of the primary: invariant 10. Leases are by the database's clock.

mod audit;
mod commit;
mod deployments;
mod error;
mod history;
mod identity;
mod instance;
mod keys;
mod ledger;
mod maintenance;
mod nodes;
mod organization_lock;
mod partitions;
#[cfg(test)]
mod plans;
mod queue;
mod recoveries;
mod rows;
mod schema;
mod session;
mod sources;
mod statement;
mod statistics;
mod tokens;
mod transfer;
mod url;
mod webhooks;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use stackbell_model::Timestamp;
use stackbell_store::StoreError;
use stackbell_store::commit::Lease;
use stackbell_store::rows::milliseconds;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Fault;
pub use crate::error::OpenError;
use crate::nodes::WakeUps;
pub use crate::session::Pooling;
use crate::session::{Access, Sessions, Transaction};
pub use crate::transfer::CopyProgress;
pub use crate::url::DatabaseUrl;

/// Whose clock leases go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database's: the only one that nodes share.
    Database,
    /// That of whoever asks, for tests whose time does not pass by itself.
    Caller,
}

impl LeaseClock {
    /// The present moment, where it is the caller's to say; otherwise the database says it.
    fn now(self, now: Timestamp) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Caller => Some(now.as_millis()),
        }
    }
}

/// How long a lease lasts from `now` on, in milliseconds.
fn lease_lasts(lease: Lease, now: Timestamp) -> i64 {
    milliseconds(lease.until.since(now))
}

/// How to use a database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Which.
    pub url: DatabaseUrl,
    /// What certificates are checked against, where the URL wants TLS.
    pub tls: Arc<rustls::ClientConfig>,
    /// What stands before it.
    pub pooling: Pooling,
    /// The most connections at once; at least [`PostgresStore::CONNECTIONS_MIN`].
    pub connections_max: u32,
    /// Whose clock leases go by.
    pub lease_clock: LeaseClock,
}

/// A store in one PostgreSQL database, which other nodes may use at the same time.
pub struct PostgresStore {
    /// For the engine alone, so that nobody who reads much keeps it from committing, or a node from saying that it is there.
    engine: Sessions,
    /// For everybody else.
    people: Sessions,
    lease_clock: LeaseClock,
    wake_ups: WakeUps,
    /// Whether there was room when somebody looked, and no commit found none since.
    has_room: AtomicBool,
    options: PostgresOptions,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("url", &self.options.url).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The least of [`PostgresOptions::connections_max`]: three for commits, leases and looks of the engine, one for the rest.
    pub const CONNECTIONS_MIN: u32 = 4;

    /// Connects, and checks that the schema is one that this program can work with.
    ///
    /// # Errors
    /// [`OpenError`]. Nothing is changed: see [`Self::migrate`].
    pub async fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let database = options.url.label();
        let client = connect(&options).await?;
        schema::check_usable(&client, &database).await?;
        schema::check_whole(&client, &database).await?;
        schema::check_durable(&client, &database).await?;
        drop(client);
        Ok(Self::of(options))
    }

    /// Opens the database as the target of a copy. An unfinished copy does not matter.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_to_copy(options: PostgresOptions) -> Result<Self, OpenError> {
        let database = options.url.label();
        let client = connect(&options).await?;
        schema::check_usable(&client, &database).await?;
        schema::check_durable(&client, &database).await?;
        drop(client);
        Ok(Self::of(options))
    }

    fn of(options: PostgresOptions) -> Self {
        let connections = options.connections_max.max(Self::CONNECTIONS_MIN);
        let of_engine = (connections / 2).max(Self::CONNECTIONS_MIN - 1);
        let sessions = |size: u32| Sessions::new(pool(&options, size as usize), options.pooling);
        Self {
            engine: sessions(of_engine),
            people: sessions(connections - of_engine),
            lease_clock: options.lease_clock,
            wake_ups: WakeUps::default(),
            has_room: AtomicBool::new(false),
            options,
        }
    }

    /// Brings the database up to date, making the schema when there is none. Answers its version.
    /// Nodes of the version before may go on meanwhile; another program that migrates waits.
    ///
    /// # Errors
    /// [`OpenError`]. A migration that fails leaves the database at the version before it.
    pub async fn migrate(options: &PostgresOptions) -> Result<u32, OpenError> {
        let client = connect(options).await?;
        let version = schema::migrate(&client, &options.url.label()).await?;
        // So that nothing that comes before the first sweep lies in the rest.
        let sessions = Sessions::new(pool(options, 1), options.pooling);
        let made = sessions.run(Access::Upkeep, "migrate", |tx| async move {
            if partitions::try_lock(&tx).await? { partitions::make_days(&tx).await } else { Ok(()) }
        });
        made.await.map_err(|source| OpenError::Days { database: options.url.label(), source })?;
        Ok(version)
    }

    /// The version of the schema; 0 when there is none.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::TooNew`] when this program cannot work with it.
    pub async fn version(options: &PostgresOptions) -> Result<u32, OpenError> {
        let client = connect(options).await?;
        schema::check_readable(&client, &options.url.label()).await
    }

    /// The version that [`Self::migrate`] brings databases to.
    pub fn newest_version() -> u32 {
        schema::newest_version()
    }

    /// Runs `work` as one writing transaction.
    async fn write<T, F>(
        &self,
        context: &'static str,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.people.run(Access::Write, context, work).await
    }

    /// Runs `work` as one reading transaction, which sees all that was answered before, by any node.
    async fn read<T, F>(
        &self,
        context: &'static str,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.people.run(Access::Read, context, work).await
    }
}

/// A connection of its own, which ends when it is dropped.
async fn connect(options: &PostgresOptions) -> Result<deadpool_postgres::Object, OpenError> {
    let pool = pool(options, 1);
    pool.get()
        .await
        .map_err(|error| OpenError::Connect { database: options.url.label(), source: Box::new(error) })
}

fn pool(options: &PostgresOptions, size: usize) -> Pool {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let postgres = options.url.config().clone();
    let manager = if options.url.has_tls() {
        let tls = MakeRustlsConnect::new((*options.tls).clone());
        Manager::from_config(postgres, tls, config)
    } else {
        Manager::from_config(postgres, NoTls, config)
    };
    let built = Pool::builder(manager).max_size(size).runtime(deadpool_postgres::Runtime::Tokio1).build();
    built.expect("no time-out is set that would want a runtime")
}
