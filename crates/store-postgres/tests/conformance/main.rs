//! The conformance suite. Each case has its own database, and runs twice: with direct connections, and with the settings for a
//! pooler that gives each transaction another connection. `contention` tests several nodes on one database.

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
