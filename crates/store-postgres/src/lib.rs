//! The store that several nodes share: one PostgreSQL database.
//!
//! - `url`, `schema`: the database's URL and its schema, which only `migrate` changes
//! - `session`: connections, transactions, and their repetition after a conflict
//! - `statement`, `rows`: SQL statements and their results
//! - `organization_lock`: a lock that intakes of an organization share and that its edits take exclusively
//! - `ledger`: the changes of counts in a transaction, which are written at its end
//! - `partitions`: the history's partitions, one for each day
//! - the port, by noun: `commit`, `queue`, `history`, `webhooks`, `identity`, `tokens`, `keys`, `audit`,
//!   `maintenance`, `recoveries`, `statistics`, `deployments`, `sources`, `instance`, `nodes`, `transfer`
//!
//! A commit is synced before the caller gets its result, whatever the role's `synchronous_commit` is (invariant 1). Reads go to
//! the primary (invariant 10). Leases use the database's clock.

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

/// The clock of the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database's clock, the only one that all nodes share.
    Database,
    /// The caller's clock, for tests with a manual clock.
    Caller,
}

impl LeaseClock {
    /// The current time by the caller's clock; `None` if the database's clock is used.
    fn now(self, now: Timestamp) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Caller => Some(now.as_millis()),
        }
    }
}

/// The duration of a lease from `now` on, in milliseconds.
fn lease_lasts(lease: Lease, now: Timestamp) -> i64 {
    milliseconds(lease.until.since(now))
}

/// The settings of a database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The database.
    pub url: DatabaseUrl,
    /// The TLS settings, including the roots of certificates. Used only if the URL requires TLS.
    pub tls: Arc<rustls::ClientConfig>,
    /// The kind of pooler in front of the database.
    pub pooling: Pooling,
    /// The maximum number of connections; at least [`PostgresStore::CONNECTIONS_MIN`].
    pub connections_max: u32,
    /// The clock of the leases.
    pub lease_clock: LeaseClock,
}

/// A store in one PostgreSQL database, which other nodes may use at the same time.
pub struct PostgresStore {
    /// The connections of the engine, so that other reads delay neither its commits nor the node's heartbeat.
    engine_pool: Sessions,
    /// The connections of all others.
    shared_pool: Sessions,
    lease_clock: LeaseClock,
    wake_ups: WakeUps,
    /// Whether the disk had room at the last check, and no commit has found it full since.
    has_room: AtomicBool,
    options: PostgresOptions,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("url", &self.options.url).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The minimum of [`PostgresOptions::connections_max`]: three for the engine's commits, leases and reads, and one for others.
    pub const CONNECTIONS_MIN: u32 = 4;

    /// Connects, and checks that this program can use the schema. Changes nothing: see [`Self::migrate`].
    ///
    /// # Errors
    /// [`OpenError`].
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
            engine_pool: sessions(of_engine),
            shared_pool: sessions(connections - of_engine),
            lease_clock: options.lease_clock,
            wake_ups: WakeUps::default(),
            has_room: AtomicBool::new(false),
            options,
        }
    }

    /// Migrates the database, and creates the schema if there is none. Returns the schema's version. Nodes of the version before
    /// can run meanwhile. Another program that migrates waits.
    ///
    /// # Errors
    /// [`OpenError`]. A migration that fails leaves the database at the version before it.
    pub async fn migrate(options: &PostgresOptions) -> Result<u32, OpenError> {
        let client = connect(options).await?;
        let version = schema::migrate(&client, &options.url.label()).await?;
        // Before the first sweep, new rows would otherwise be stored in the default partition.
        let sessions = Sessions::new(pool(options, 1), options.pooling);
        let made = sessions.run(Access::Maintenance, "migrate", |tx| async move {
            if partitions::try_lock(&tx).await? { partitions::make_days(&tx).await } else { Ok(()) }
        });
        made.await.map_err(|source| OpenError::Days { database: options.url.label(), source })?;
        Ok(version)
    }

    /// Returns the version of the schema; 0 if there is none.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::TooNew`] if this program cannot use it.
    pub async fn version(options: &PostgresOptions) -> Result<u32, OpenError> {
        let client = connect(options).await?;
        schema::check_readable(&client, &options.url.label()).await
    }

    /// Returns the version to which [`Self::migrate`] migrates.
    pub fn newest_version() -> u32 {
        schema::newest_version()
    }

    /// Runs `work` as one write transaction.
    async fn write<T, F>(
        &self,
        context: &'static str,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.shared_pool.run(Access::Write, context, work).await
    }

    /// Runs `work` as one read transaction, which sees every commit of any node that returned before.
    async fn read<T, F>(
        &self,
        context: &'static str,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.shared_pool.run(Access::Read, context, work).await
    }
}

/// Opens a separate connection, which is closed when it is dropped.
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
    built.expect("no timeout is set that needs a runtime")
}
