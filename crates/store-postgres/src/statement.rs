//! SQL statements with the types of their parameters.
//!
//! The types are known here and not queried, so that a statement and its parameters can be sent in one message if a pooler does
//! not allow prepared statements.

use tokio_postgres::types::Type;

/// A statement. Its text begins with its name as a comment, which identifies it in logs and plans.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) types: &'static [Type],
}

/// Defines a [`Statement`] from its text and the [`Type`] constants of its parameters.
macro_rules! statement {
    ($name:ident = $sql:expr; $($type:ident),*) => {
        pub(crate) static $name: $crate::statement::Statement = $crate::statement::Statement {
            sql: $sql,
            types: &[$(tokio_postgres::types::Type::$type),*],
        };
    };
}
pub(crate) use statement;
