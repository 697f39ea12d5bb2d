use std::error::Error;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be asked, or could not write: nothing was changed. Trying again later is sensible.
    #[error("the store is unavailable ({context})")]
    Unavailable {
        /// What was being done, by the port's name for it.
        context: &'static str,
        /// What the driver says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The connection was lost while committing: whether it happened is unknown.
    #[error("the store did not say whether it committed ({context})")]
    Unknown {
        /// What was being done, by the port's name for it.
        context: &'static str,
        /// What the driver says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no room left to write: nothing was changed.
    #[error("the store is full ({context})")]
    Full {
        /// What was being done, by the port's name for it.
        context: &'static str,
        /// What the driver says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A row does not hold what it must. Somebody else wrote to the database, or a disk lied.
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row, in words that find it.
        id: String,
        /// What is wrong with it. Never the value of a secret.
        problem: String,
    },
}
