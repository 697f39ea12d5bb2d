//! The port's suite, each case on a database of its own: once as we are connected to it, once through a pooler that gives
//! each transaction another connection. And what only nodes that share a database can do to each other.

mod contention;
mod harness;

mod directly {
    stackbell_store::conformance_tests!(crate::harness::DatabaseHarness::new(
        stackbell_store_postgres::Pooling::Session
    ));
}

mod through_a_pooler {
    stackbell_store::conformance_tests!(crate::harness::DatabaseHarness::new(
        stackbell_store_postgres::Pooling::Transaction
    ));
}
