//! Connections and transactions.
//!
//! Reads are transactions too. Each transaction sets its own timeouts, so that they also hold behind a pooler that gives each
//! transaction another connection. `BEGIN` and the first statements are sent together, in one round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::try_join;
use stackbell_store::StoreError;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, RowStream};

use crate::error::Fault;
use crate::rows::Cursor;
use crate::statement::Statement;

/// The maximum number of repetitions of a transaction after conflicts.
const TRIES_MAX: u32 = 8;

/// The wait before the first repetition. It doubles each time.
const CONTENTION_WAIT: Duration = Duration::from_millis(2);

/// The maximum wait for a connection: long enough to open a new one, and short enough that producers get their 503 soon.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// The time that the server gets to report a timeout.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// The kind of pooler in front of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// No pooler, or one that keeps a connection for the whole session.
    Session,
    /// A pooler that gives each transaction another connection. Prepared statements and `LISTEN` do not work.
    Transaction,
}

/// The kind of a transaction, with its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Background maintenance. It gives up soon if others hold a lock.
    Maintenance,
    /// Maintenance of a whole past day, which can take long and blocks no other transaction.
    LongMaintenance,
    /// A copy of another store, while no node uses the database: reads and writes whole tables in one transaction.
    Copy,
}

impl Access {
    /// The statements that begin the transaction.
    ///
    /// The server ends an idle transaction, so that a node which is suspended in the middle of one does not keep its locks. The
    /// node gets an error when it continues.
    ///
    /// Writes never use a sequential scan, whatever the statistics say. The statistics of a queue are always out of date: a plan
    /// that was made while it was empty would scan all of it later.
    const fn begin(self) -> &'static str {
        match self {
            Self::Read => {
                "/* begin_read */ BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off; \
                 SET LOCAL statement_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '5s'"
            }
            Self::Write => {
                "/* begin_write */ BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL jit = off; \
                 SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '5s'; \
                 SET LOCAL idle_in_transaction_session_timeout = '5s'"
            }
            Self::Maintenance => {
                "/* begin_maintenance */ BEGIN; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '500ms'; \
                 SET LOCAL idle_in_transaction_session_timeout = '5s'"
            }
            Self::LongMaintenance => {
                "/* begin_long_maintenance */ BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL jit = off; \
                 SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = '30min'; SET LOCAL lock_timeout = '30s'; \
                 SET LOCAL idle_in_transaction_session_timeout = '60s'"
            }
            Self::Copy => {
                "/* begin_copy */ BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL jit = off; \
                 SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'; \
                 SET LOCAL idle_in_transaction_session_timeout = '60s'"
            }
        }
    }

    /// The maximum duration of the transaction.
    const fn time_max(self) -> Duration {
        match self {
            Self::Read | Self::Write => Duration::from_secs(15),
            Self::Maintenance => Duration::from_secs(120),
            Self::LongMaintenance => Duration::from_secs(1800),
            Self::Copy => Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    pool: Pool,
    pooling: Pooling,
}

/// The end of a failed transaction.
pub(crate) enum Failed<T> {
    /// The transaction was rolled back.
    RolledBack(Fault),
    /// The response to the commit was lost. The value is the transaction's result in case that it has committed.
    Unknown(Fault, T),
}

impl Sessions {
    pub(crate) fn new(pool: Pool, pooling: Pooling) -> Self {
        Self { pool, pooling }
    }

    /// Runs `work` as one transaction. Repeats it from the start after conflicts.
    pub(crate) async fn run<T, F>(
        &self,
        access: Access,
        context: &'static str,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.try_run(access, work).await.map_err(|failed| match failed {
            Failed::RolledBack(fault) => fault.into_store_error(context),
            Failed::Unknown(fault, _) => StoreError::Unknown { context, source: Box::new(fault) },
        })
    }

    /// Runs `work` like [`Self::run`], and reports how it failed.
    pub(crate) async fn try_run<T, F>(
        &self,
        access: Access,
        work: impl Fn(Arc<Transaction>) -> F,
    ) -> Result<T, Failed<T>>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut tries = 0;
        loop {
            match self.once(access, &work).await {
                Err(Failed::RolledBack(fault)) if fault.is_contention() && tries < TRIES_MAX => {
                    tokio::time::sleep(CONTENTION_WAIT * 2_u32.pow(tries)).await;
                    tries += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn once<T, F>(&self, access: Access, work: &impl Fn(Arc<Transaction>) -> F) -> Result<T, Failed<T>>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let client = timeout(CONNECTION_WAIT, self.pool.get()).await;
        let client = client
            .map_err(|_| Failed::RolledBack(Fault::TimedOut))?
            .map_err(|error| Failed::RolledBack(error.into()))?;
        let transaction = Arc::new(Transaction {
            client: Some(client),
            pooling: self.pooling,
            is_over: AtomicBool::new(false),
        });
        let begun = transaction.simple(access.begin());
        let done = timeout(access.time_max(), try_join(begun, work(Arc::clone(&transaction)))).await;
        let value = match done.unwrap_or(Err(Fault::TimedOut)) {
            Ok(((), value)) => value,
            Err(fault) => {
                transaction.roll_back(&fault).await;
                return Err(Failed::RolledBack(fault));
            }
        };
        let committed = timeout(access.time_max() + ANSWER_MARGIN, transaction.simple("/* commit */ COMMIT"));
        match committed.await.unwrap_or(Err(Fault::TimedOut)) {
            Ok(()) => {
                transaction.is_over.store(true, Ordering::Relaxed);
                Ok(value)
            }
            Err(fault) if fault.undoes_commit() => {
                transaction.roll_back(&fault).await;
                Err(Failed::RolledBack(fault))
            }
            Err(fault) => Err(Failed::Unknown(fault, value)),
        }
    }
}

/// Finds and locks a row; tries a second time if it is not found.
///
/// Another transaction may move the row to another partition, by a delete and an insert. A statement that waited for it finds
/// neither row, because it has the snapshot of its start. The next statement finds the new row.
pub(crate) async fn find_twice<T, F>(find: impl Fn() -> F) -> Result<Option<T>, Fault>
where
    F: Future<Output = Result<Option<T>, Fault>>,
{
    match find().await? {
        None => find().await,
        found => Ok(found),
    }
}

/// An open transaction. If it is dropped before its end, its connection is closed, and the server rolls back.
pub(crate) struct Transaction {
    /// `Some` until the drop.
    client: Option<Object>,
    pooling: Pooling,
    is_over: AtomicBool,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !*self.is_over.get_mut()
        {
            // Takes the connection out of the pool and closes it.
            drop(Object::take(client));
        }
    }
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Transaction {
    fn client(&self) -> &Object {
        self.client.as_ref().expect("only the drop takes it")
    }

    async fn simple(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Rolls back. The connection is used again if the fault allows it.
    async fn roll_back(&self, fault: &Fault) {
        let rolled_back = timeout(ANSWER_MARGIN, self.simple("/* roll_back */ ROLLBACK"));
        if fault.leaves_connection() && matches!(rolled_back.await, Ok(Ok(()))) {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// Returns all rows of a query.
    pub(crate) async fn rows(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        debug_assert_eq!(statement.types.len(), parameters.len(), "{}", statement.sql);
        match self.pooling {
            Pooling::Session => {
                let prepared = self.client().prepare_typed_cached(statement.sql, statement.types).await?;
                Ok(self.client().query(&prepared, parameters).await?)
            }
            Pooling::Transaction => {
                let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                    parameters.iter().copied().zip(statement.types.iter().cloned()).collect();
                Ok(self.client().query_typed(statement.sql, &typed).await?)
            }
        }
    }

    /// Reads all rows of a query, whose first columns belong to `table`.
    pub(crate) async fn list<T>(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
        table: &'static str,
        read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let rows = self.rows(statement, parameters).await?;
        rows.iter().map(|row| read(&mut Cursor::new(row, table))).collect()
    }

    /// Reads the first row of a query.
    pub(crate) async fn first<T>(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
        table: &'static str,
        read: impl FnOnce(&mut Cursor<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let rows = self.rows(statement, parameters).await?;
        rows.first().map(|row| read(&mut Cursor::new(row, table))).transpose()
    }

    /// Runs a statement without results. Returns the number of changed rows.
    pub(crate) async fn change(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<u64, Fault> {
        debug_assert_eq!(statement.types.len(), parameters.len(), "{}", statement.sql);
        match self.pooling {
            Pooling::Session => {
                let prepared = self.client().prepare_typed_cached(statement.sql, statement.types).await?;
                Ok(self.client().execute(&prepared, parameters).await?)
            }
            Pooling::Transaction => {
                let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                    parameters.iter().copied().zip(statement.types.iter().cloned()).collect();
                Ok(self.client().execute_typed(statement.sql, &typed).await?)
            }
        }
    }
}

/// Statements that change the schema: our own text, without parameters.
impl Transaction {
    /// Runs statements without parameters and results.
    pub(crate) async fn define(&self, sql: &str) -> Result<(), Fault> {
        self.simple(sql).await
    }

    /// Returns the rows of a query without parameters, whose text is made at run time.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<Row>, Fault> {
        Ok(self.client().query_typed(sql, &[]).await?)
    }
}

/// Statements about whole tables, whose text is made at run time.
impl Transaction {
    /// Runs a statement without results.
    pub(crate) async fn load(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<(), Fault> {
        self.client().execute_typed(sql, parameters).await?;
        Ok(())
    }

    /// Streams the rows of a query, so that memory does not grow with their number.
    pub(crate) async fn stream(&self, sql: &str) -> Result<RowStream, Fault> {
        let parameters = std::iter::empty::<(&(dyn ToSql + Sync), Type)>();
        Ok(self.client().query_typed_raw(sql, parameters).await?)
    }
}
