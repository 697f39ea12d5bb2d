use std::error::Error;

/// The reason why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be reached, or could not write: nothing was changed. A later retry makes sense.
    #[error("the store is unavailable ({context})")]
    Unavailable {
        /// The operation, by its name in the port.
        context: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The connection was lost during the commit: its outcome is unknown.
    #[error("the store did not say whether it committed ({context})")]
    Unknown {
        /// The operation, by its name in the port.
        context: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no space left to write: nothing was changed.
    #[error("the store is full ({context})")]
    Full {
        /// The operation, by its name in the port.
        context: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A row contains a value that is not valid. Another program wrote to the database, or the disk is
    /// faulty.
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row, in words that identify it.
        id: String,
        /// The error. It never contains the value of a secret.
        problem: String,
    },
}
