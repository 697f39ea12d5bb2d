//! Connections and transactions.
//!
//! Everything is a transaction, reads too: its limits of time are set within it, so that they hold behind a pooler that
//! hands each transaction to another connection. `BEGIN` and the first statements go out together, in one round trip.

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

/// How often work is done anew that another transaction was in the way of.
const TRIES_MAX: u32 = 8;

/// How long work that was in another's way rests, the first time.
const CONTENTION_WAIT: Duration = Duration::from_millis(2);

/// How long a connection may be waited for: long enough to be made anew, short enough to tell producers to come back.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Beyond the limits that the server keeps, how long it may take to say so.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// What stands between us and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Nothing, or something that keeps a connection ours for good.
    Session,
    /// A pooler that gives us another connection for each transaction: no named statements, no `LISTEN`.
    Transaction,
}

/// What a transaction may do, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Upkeep, which nobody waits for and which gives way.
    Upkeep,
    /// A part of what takes hours, where nobody is in the way: a day that is past.
    Long,
    /// A copy of another store, while no node uses the database: reads and writes whole tables in one transaction.
    Copy,
}

impl Access {
    /// A node that is stopped in the middle of a transaction must not hold its locks for as long:
    /// the server ends it, and the node hears of it when it goes on.
    ///
    /// What writes goes by indices, whatever the statistics say: those of a queue are always of another hour, and a plan
    /// that was made while it was empty would walk through all of it when it is not.
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
            Self::Upkeep => {
                "/* begin_upkeep */ BEGIN; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '500ms'; \
                 SET LOCAL idle_in_transaction_session_timeout = '5s'"
            }
            Self::Long => {
                "/* begin_long */ BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL jit = off; \
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

    /// How long its work may take in all.
    const fn time_max(self) -> Duration {
        match self {
            Self::Read | Self::Write => Duration::from_secs(15),
            Self::Upkeep => Duration::from_secs(120),
            Self::Long => Duration::from_secs(1800),
            Self::Copy => Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Connections, as many at once as there may be.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    pool: Pool,
    pooling: Pooling,
}

/// How a transaction ended that did not go through.
pub(crate) enum Failed<T> {
    /// Nothing of it happened.
    Undone(Fault),
    /// Its commit was asked for and not answered; what would have been answered otherwise.
    Unknown(Fault, T),
}

impl Sessions {
    pub(crate) fn new(pool: Pool, pooling: Pooling) -> Self {
        Self { pool, pooling }
    }

    /// Does `work` as one transaction; anew, from its beginning, as long as others are in its way.
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
            Failed::Undone(fault) => fault.into_store_error(context),
            Failed::Unknown(fault, _) => StoreError::Unknown { context, source: Box::new(fault) },
        })
    }

    /// The same, for who wants to know how it failed.
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
                Err(Failed::Undone(fault)) if fault.is_contention() && tries < TRIES_MAX => {
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
            .map_err(|_| Failed::Undone(Fault::TimedOut))?
            .map_err(|error| Failed::Undone(error.into()))?;
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
                transaction.give_up(&fault).await;
                return Err(Failed::Undone(fault));
            }
        };
        let committed = timeout(access.time_max() + ANSWER_MARGIN, transaction.simple("/* commit */ COMMIT"));
        match committed.await.unwrap_or(Err(Fault::TimedOut)) {
            Ok(()) => {
                transaction.is_over.store(true, Ordering::Relaxed);
                Ok(value)
            }
            Err(fault) if fault.undoes_commit() => {
                transaction.give_up(&fault).await;
                Err(Failed::Undone(fault))
            }
            Err(fault) => Err(Failed::Unknown(fault, value)),
        }
    }
}

/// Looks for a row that is to be locked, and once more when it is not there.
///
/// Who waited for another transaction that deletes the row here and inserts it into another partition finds neither: the
/// statement sees what was there at its beginning. The next statement sees the new row.
pub(crate) async fn find_twice<T, F>(find: impl Fn() -> F) -> Result<Option<T>, Fault>
where
    F: Future<Output = Result<Option<T>, Fault>>,
{
    match find().await? {
        None => find().await,
        found => Ok(found),
    }
}

/// A transaction under way. Dropped before it is over, it takes its connection along, and the server undoes it.
pub(crate) struct Transaction {
    /// There until it is dropped.
    client: Option<Object>,
    pooling: Pooling,
    is_over: AtomicBool,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !*self.is_over.get_mut()
        {
            // Out of the pool, and closed.
            drop(Object::take(client));
        }
    }
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Transaction {
    fn client(&self) -> &Object {
        self.client.as_ref().expect("it is there until it is dropped")
    }

    async fn simple(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Undoes it, so that the connection can be used again, where that is possible.
    async fn give_up(&self, fault: &Fault) {
        let rolled_back = timeout(ANSWER_MARGIN, self.simple("/* roll_back */ ROLLBACK"));
        if fault.leaves_connection() && matches!(rolled_back.await, Ok(Ok(()))) {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// All rows of a query.
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

    /// All rows of a query, each read from its column on that are `table`'s.
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

    /// The first row of a query, if there is one.
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

    /// Runs a statement that answers no rows; how many rows it changed.
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

/// What changes the schema and not rows: text of our own, without parameters.
impl Transaction {
    /// Runs statements that have no parameters and answer nothing.
    pub(crate) async fn define(&self, sql: &str) -> Result<(), Fault> {
        self.simple(sql).await
    }

    /// The same for one that answers rows, made for this one time.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<Row>, Fault> {
        Ok(self.client().query_typed(sql, &[]).await?)
    }
}

/// Statements that are made at run time, for whole tables.
impl Transaction {
    /// Runs a statement that answers no rows.
    pub(crate) async fn load(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<(), Fault> {
        self.client().execute_typed(sql, parameters).await?;
        Ok(())
    }

    /// The rows of a query, as they arrive: memory does not grow with their number.
    pub(crate) async fn stream(&self, sql: &str) -> Result<RowStream, Fault> {
        let parameters = std::iter::empty::<(&(dyn ToSql + Sync), Type)>();
        Ok(self.client().query_typed_raw(sql, parameters).await?)
    }
}
