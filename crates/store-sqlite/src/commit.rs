//! The group commit.
//!
//! Each item of a batch is checked completely before any of it is written. A refused item therefore leaves nothing behind, and
//! needs no savepoint. Statements, organizations and webhooks are looked up once for each batch.

pub(crate) mod attempts;
pub(crate) mod intake;
pub(crate) mod lookups;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use stackbell_store::StoreError;
use stackbell_store::commit::{Batch, BatchOutcome, Commit};

use crate::SqliteStore;
use crate::error::Fault;
use crate::instance::is_sending_held;
use crate::ledger::Ledger;
use crate::session::WriterMemory;

#[async_trait]
impl Commit for SqliteStore {
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError> {
        let work =
            move |connection: &Connection, memory: &mut WriterMemory| commit(connection, memory, &batch);
        self.writer.run("commit", move |writer| writer.transaction("commit", work)).await
    }
}

fn commit(connection: &Connection, memory: &mut WriterMemory, batch: &Batch) -> Result<BatchOutcome, Fault> {
    let mut lookups = lookups::BatchLookups::prepare(connection)?;
    let mut ledger = Ledger::default();
    let mut outcome = BatchOutcome::default();
    if !batch.intakes.is_empty() {
        let mut intake = intake::Intake::prepare(connection, &mut lookups, memory, &mut ledger)?;
        outcome.intakes = batch.intakes.iter().map(|item| intake.accept(item)).collect::<Result<_, _>>()?;
    }
    if !batch.attempts.is_empty() {
        let mut recorder =
            attempts::Recorder::prepare(connection, &mut lookups, &mut memory.leases, &mut ledger)?;
        outcome.attempts =
            batch.attempts.iter().map(|record| recorder.record(record)).collect::<Result<_, _>>()?;
        lookups.write_health(connection)?;
    }
    ledger.write(connection)?;
    outcome.sending_held =
        !(batch.intakes.is_empty() && batch.attempts.is_empty()) && is_sending_held(connection)?;
    Ok(outcome)
}
