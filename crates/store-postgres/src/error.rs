//! Errors of PostgreSQL and its driver, and their conversion to the port's errors.

use std::io;

use stackbell_store::StoreError;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// The reason why a database cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is invalid. The text quotes no part of it except names, because it may contain a password.
    #[error("the database URL {0}")]
    Url(String),
    /// The database cannot be reached, or refuses the connection.
    #[error("cannot connect to {database}")]
    Connect {
        /// The database, without the password.
        database: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database has no schema, or one that lacks migrations.
    #[error(
        "{database} has schema version {found}, and this program needs {needed}: run `stackbell migrate` with the same settings"
    )]
    NotMigrated {
        /// The database, without the password.
        database: String,
        /// The version of the schema; 0 if there is none.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// A later version of Stackbell migrated the database, and this program cannot use it any more.
    #[error(
        "{database} has schema version {found}, which programs that know none above {known} cannot use: use a later version of Stackbell"
    )]
    TooNew {
        /// The database, without the password.
        database: String,
        /// The version of the schema.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The database is the target of a copy that is not complete.
    #[error(
        "{database} is the target of an unfinished copy of {origin}: run `stackbell store copy` again, or use another database"
    )]
    CopyUnfinished {
        /// The database, without the password.
        database: String,
        /// The source of the copy.
        origin: String,
    },
    /// The database may lose committed data.
    #[error("{database} runs with {setting}=off, so that a crash can lose committed data: turn it on")]
    NotDurable {
        /// The database, without the password.
        database: String,
        /// The setting of PostgreSQL.
        setting: &'static str,
    },
    /// A migration failed.
    #[error("the migration {name} of {database} failed and changed nothing")]
    Migration {
        /// The database, without the password.
        database: String,
        /// The migration.
        name: &'static str,
        /// PostgreSQL's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The partitions of the next days could not be created.
    #[error("the partitions of the next days could not be created in {database}")]
    Days {
        /// The database, without the password.
        database: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// Any other error of the database.
    #[error("{database} cannot be used")]
    Database {
        /// The database, without the password.
        database: String,
        /// PostgreSQL's error.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// The reason why a transaction's work failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// PostgreSQL refused a statement, or the connection was lost.
    #[error("the database refused a statement, or the connection was lost")]
    Driver(#[from] tokio_postgres::Error),
    /// No connection could be made.
    #[error("there is no connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// The transaction took too long.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Another transaction conflicted. The work can be repeated, and will see the changes of the other one.
    #[error("another transaction conflicted")]
    Contended,
    /// See [`StoreError::Corrupt`].
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Unreadable { table: &'static str, column: &'static str, id: String, problem: String },
    /// The source of a copy could not be read.
    #[error("the source of the copy cannot be read")]
    Source(#[source] StoreError),
    /// The copied rows are not the rows of the source.
    #[error("the copy differs from its source")]
    Differs,
}

impl Fault {
    /// The caller named a row that does not exist.
    pub(crate) fn missing(table: &'static str, id: &impl ToString) -> Self {
        Self::Unreadable {
            table,
            column: "id",
            id: id.to_string(),
            problem: "there is no such row".to_owned(),
        }
    }

    /// Whether the work may succeed if it is repeated at once.
    pub(crate) fn is_contention(&self) -> bool {
        match self {
            Self::Contended => true,
            Self::Driver(error) => error.as_db_error().is_some_and(is_contention),
            Self::Pool(_) | Self::TimedOut | Self::Unreadable { .. } | Self::Source(_) | Self::Differs => {
                false
            }
        }
    }

    /// Whether the connection can be used for another transaction.
    pub(crate) fn leaves_connection(&self) -> bool {
        match self {
            Self::Contended | Self::Unreadable { .. } | Self::Source(_) | Self::Differs => true,
            // The server became a standby, so this connection must not be used again.
            Self::Driver(error) => {
                error.code().is_some_and(|code| *code != SqlState::READ_ONLY_SQL_TRANSACTION)
            }
            Self::Pool(_) | Self::TimedOut => false,
        }
    }

    /// Whether the error of a commit proves that it did not happen. A lost connection proves nothing, and neither does a pooler's
    /// error about its own lost connection, because the server may have received the commit.
    pub(crate) fn undoes_commit(&self) -> bool {
        match self {
            Self::Driver(error) => error.as_db_error().is_some_and(|refusal| {
                let class = refusal.code().code().get(..2).unwrap_or_default();
                refusal.parsed_severity() == Some(Severity::Error) && !UNDECIDED_CLASSES.contains(&class)
            }),
            Self::Contended | Self::Unreadable { .. } | Self::Source(_) | Self::Differs => true,
            Self::Pool(_) | Self::TimedOut => false,
        }
    }

    /// Converts the fault of a transaction that did not commit.
    pub(crate) fn into_store_error(self, context: &'static str) -> StoreError {
        match self {
            Self::Unreadable { table, column, id, problem } => {
                StoreError::Corrupt { table, column, id, problem }
            }
            Self::Driver(source) if source.code() == Some(&SqlState::DISK_FULL) => {
                StoreError::Full { context, source: Box::new(DriverError::from(source)) }
            }
            Self::Driver(source) => {
                StoreError::Unavailable { context, source: Box::new(DriverError::from(source)) }
            }
            Self::Pool(source) => StoreError::Unavailable { context, source: Box::new(source) },
            Self::Source(error) => error,
            other @ (Self::TimedOut | Self::Contended | Self::Differs) => {
                StoreError::Unavailable { context, source: Box::new(io::Error::other(other)) }
            }
        }
    }
}

/// An error of the driver or PostgreSQL, without its details, which may quote the refused row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    /// PostgreSQL refused a statement.
    #[error("{code} {message}")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The primary message, which names tables and constraints but quotes no value.
        message: String,
    },
    /// An error of the connection, or of the protocol.
    #[error(transparent)]
    Connection(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for DriverError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => Self::Refused {
                code: refusal.code().code().to_owned(),
                message: refusal.message().to_owned(),
            },
            None => Self::Connection(error),
        }
    }
}

/// Whether the error comes from a conflict with another transaction.
fn is_contention(refusal: &DbError) -> bool {
    // A row was about to enter the default partition when its day was created. The violated constraint has no name then.
    let is_of_new_day = *refusal.code() == SqlState::CHECK_VIOLATION && refusal.constraint().is_none();
    is_of_new_day || CONTENTION.contains(refusal.code())
}

/// The SQLSTATE classes of connection exceptions and operator interventions.
const UNDECIDED_CLASSES: [&str; 2] = ["08", "57"];

const CONTENTION: &[SqlState] = &[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];

/// Whether an insert failed because its key exists.
pub(crate) fn is_taken(fault: &Fault) -> bool {
    matches!(fault, Fault::Driver(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
}
