//! Statements: their text, and the types of their parameters.
//!
//! Types are given and not asked for, so that a statement can go out in one message, parameters and all, where a pooler
//! keeps us from preparing it.

use tokio_postgres::types::Type;

/// A statement. Its text begins with its name as a comment, so that logs and plans can be traced home.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) types: &'static [Type],
}

/// A [`Statement`] of a text and the types of its parameters, by the names that [`Type`] has for them.
macro_rules! statement {
    ($name:ident = $sql:expr; $($type:ident),*) => {
        pub(crate) static $name: $crate::statement::Statement = $crate::statement::Statement {
            sql: $sql,
            types: &[$(tokio_postgres::types::Type::$type),*],
        };
    };
}
pub(crate) use statement;
