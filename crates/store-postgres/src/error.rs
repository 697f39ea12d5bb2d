//! What goes wrong, and whose words say so.

use std::io;

use stackbell_store::StoreError;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why a database cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its URL cannot be understood. The text holds no part of it but names: it may hold a password.
    #[error("the database URL {0}")]
    Url(String),
    /// It cannot be reached, or does not let us in.
    #[error("cannot connect to {database}")]
    Connect {
        /// Which, without the password.
        database: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has no schema of ours, or one that lacks migrations.
    #[error(
        "{database} has schema version {found}, and this program needs {needed}: run `stackbell migrate` with the same settings"
    )]
    NotMigrated {
        /// Which, without the password.
        database: String,
        /// Its schema's version; 0 for none.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// A later version of Stackbell migrated it so far that this program cannot work with it any more.
    #[error(
        "{database} has schema version {found}, which programs that know none above {known} cannot use: use a later version of Stackbell"
    )]
    TooNew {
        /// Which, without the password.
        database: String,
        /// Its schema's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another store is being copied into it.
    #[error(
        "{database} is the target of an unfinished copy of {origin}: run `stackbell store copy` again, or use another database"
    )]
    CopyUnfinished {
        /// Which, without the password.
        database: String,
        /// What is copied.
        origin: String,
    },
    /// It may lose what it said was committed.
    #[error(
        "{database} runs with {setting}=off: what it commits could be lost, so that nothing could be promised; turn it on"
    )]
    NotDurable {
        /// Which, without the password.
        database: String,
        /// The setting of PostgreSQL's.
        setting: &'static str,
    },
    /// A migration did not go through.
    #[error("the migration {name} of {database} failed and changed nothing")]
    Migration {
        /// Which, without the password.
        database: String,
        /// The migration.
        name: &'static str,
        /// What PostgreSQL says.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The days that what happens is kept by could not be made.
    #[error("the days that come could not be made in {database}")]
    Days {
        /// Which, without the password.
        database: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Anything else that it refused.
    #[error("{database} cannot be used")]
    Database {
        /// Which, without the password.
        database: String,
        /// What PostgreSQL says.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// Why a transaction's work stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// PostgreSQL refused, or is gone.
    #[error("the database refused, or is gone")]
    Driver(#[from] tokio_postgres::Error),
    /// There was no connection to be had.
    #[error("there is no connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// It took too long.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Another transaction was in the way: the same work done anew will see what that did.
    #[error("another transaction was in the way")]
    Contended,
    /// See [`StoreError::Corrupt`].
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Unreadable { table: &'static str, column: &'static str, id: String, problem: String },
    /// The store that is copied into this one could not be read.
    #[error("the source of the copy cannot be read")]
    Source(#[source] StoreError),
    /// The copied rows are not the rows of the source.
    #[error("the copy differs from its source")]
    Differs,
}

impl Fault {
    /// The caller named a row that is not there, or no more.
    pub(crate) fn missing(table: &'static str, id: &impl ToString) -> Self {
        Self::Unreadable {
            table,
            column: "id",
            id: id.to_string(),
            problem: "there is no such row".to_owned(),
        }
    }

    /// Whether the same work may go through when it is done anew, at once.
    pub(crate) fn is_contention(&self) -> bool {
        match self {
            Self::Contended => true,
            Self::Driver(error) => error.as_db_error().is_some_and(is_contention),
            Self::Pool(_) | Self::TimedOut | Self::Unreadable { .. } | Self::Source(_) | Self::Differs => {
                false
            }
        }
    }

    /// Whether the connection is still fit for a transaction.
    pub(crate) fn leaves_connection(&self) -> bool {
        match self {
            Self::Contended | Self::Unreadable { .. } | Self::Source(_) | Self::Differs => true,
            // A server that became a standby says so, and is not to be asked again by this connection.
            Self::Driver(error) => {
                error.code().is_some_and(|code| *code != SqlState::READ_ONLY_SQL_TRANSACTION)
            }
            Self::Pool(_) | Self::TimedOut => false,
        }
    }

    /// Whether it says of a commit that it did not happen. What ends the connection does not, nor does what a pooler says
    /// when its own connection ended: the commit may have been on its way.
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

    /// In the port's words. Nothing was committed.
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

/// What the driver or PostgreSQL says, without what either quotes: the detail of a refused row holds the row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    /// PostgreSQL refused.
    #[error("{code} {message}")]
    Refused {
        /// Its SQLSTATE.
        code: String,
        /// Its primary message, which names tables and constraints but quotes no value.
        message: String,
    },
    /// The connection, or what came over it.
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

/// Whether a transaction only came at the wrong moment.
fn is_contention(refusal: &DbError) -> bool {
    // A row that was on its way into the rest when its day was made: no constraint of a name of ours.
    let is_of_new_day = *refusal.code() == SqlState::CHECK_VIOLATION && refusal.constraint().is_none();
    is_of_new_day || CONTENTION.contains(refusal.code())
}

/// Connection exceptions, and operator interventions.
const UNDECIDED_CLASSES: [&str; 2] = ["08", "57"];

const CONTENTION: &[SqlState] = &[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];

/// Whether an insert met a row that has its key.
pub(crate) fn is_taken(fault: &Fault) -> bool {
    matches!(fault, Fault::Driver(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
}
