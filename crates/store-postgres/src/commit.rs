//! The group commit, in three round trips: what the batch needs to know, what it brings, what follows from that.
//!
//! What each part of a batch needs is looked at before anything of it is written, so that a refused one leaves nothing behind.
//! The organizations' rows are held `FOR SHARE` until the end: an edit that bumps their version comes before or after the
//! whole batch (invariant 10), and batches go on beside each other.
//!
//! When the answer to the commit itself is lost, the row in `commits` says whether it happened.

pub(crate) mod attempt_rows;
pub(crate) mod attempts;
pub(crate) mod changes;
pub(crate) mod health;
pub(crate) mod intake;
pub(crate) mod lookups;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join;
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::commit::{AttemptSubject, Batch, BatchOutcome, Commit};
use stackbell_store::rows::{Columns as _, Id as _};
use tokio::time::Instant;
use uuid::Uuid;

use self::attempts::Recorder;
use self::intake::Intake;
use self::lookups::BatchLookups;
use crate::error::Fault;
use crate::instance::is_sending_held;
use crate::ledger::Ledger;
use crate::session::{Access, Failed, Transaction};
use crate::statement::statement;
use crate::{LeaseClock, PostgresStore};

statement!(MARK = "/* commit.mark */ INSERT INTO commits (id, at) VALUES ($1, now_ms())"; UUID);

// Where the mark is there it is written anew, so that the answer waits for disk and standbys, as the batch's would have.
statement!(GIVE_UP = "/* commit.give_up */ INSERT INTO commits (id, at, given_up) VALUES ($1, now_ms(), true) \
    ON CONFLICT (id) DO UPDATE SET at = commits.at RETURNING id, given_up"; UUID);

/// How long it may take to find out whether a commit happened: a database that restarts or fails over is back by then.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(8);

/// How long after a failed look whether it happened the next one comes.
const SETTLE_WAIT: Duration = Duration::from_millis(200);

#[async_trait]
impl Commit for PostgresStore {
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError> {
        if batch.intakes.is_empty() && batch.attempts.is_empty() {
            return Ok(BatchOutcome::default());
        }
        let clock = self.lease_clock;
        let done = self.engine.try_run(Access::Write, |tx| {
            let batch = Arc::clone(&batch);
            async move { commit(&tx, &batch, clock).await }
        });
        match done.await {
            Ok(outcome) => {
                if brings_unleased(&batch) {
                    self.wake_ups.want();
                }
                Ok(outcome)
            }
            Err(Failed::Undone(fault)) => {
                let error = fault.into_store_error("commit");
                if matches!(error, StoreError::Full { .. }) {
                    self.has_room.store(false, Ordering::Relaxed);
                }
                Err(error)
            }
            Err(Failed::Unknown(fault, outcome)) => self.settle(&batch, outcome, fault).await,
        }
    }
}

impl PostgresStore {
    /// Finds out whether a batch was committed whose commit was not answered.
    ///
    /// The mark that it would have left is written now, as given up. Where the batch's own is there, it happened; where the
    /// first transaction is under way yet, this waits for its end; otherwise the batch can never happen any more. When the
    /// answer to this is lost in turn, what is found the next time says the same.
    async fn settle(
        &self,
        batch: &Batch,
        outcome: BatchOutcome,
        fault: Fault,
    ) -> Result<BatchOutcome, StoreError> {
        let (id, began) = (batch.id.uuid(), Instant::now());
        loop {
            match self.engine.try_run(Access::Write, |tx| async move { give_up(&tx, id).await }).await {
                Ok(false) => return Ok(outcome),
                Ok(true) => return Err(fault.into_store_error("commit")),
                Err(_) if began.elapsed() < SETTLE_TIME_MAX => tokio::time::sleep(SETTLE_WAIT).await,
                Err(_) => return Err(StoreError::Unknown { context: "commit", source: Box::new(fault) }),
            }
        }
    }
}

/// Whether the batch is given up: not when it happened.
async fn give_up(tx: &Transaction, id: Uuid) -> Result<bool, Fault> {
    let given_up = tx
        .first(&GIVE_UP, &[&id], "commits", |cursor| {
            cursor.skip("id")?;
            cursor.flag("given_up")
        })
        .await?;
    given_up.ok_or(Fault::Contended)
}

/// Whether another node may have something to do for the batch: a delivery that is not ours to send at once.
fn brings_unleased(batch: &Batch) -> bool {
    let new = batch.intakes.iter().flat_map(|item| &item.events);
    new.flat_map(|new| &new.deliveries).any(|delivery| delivery.lease.is_none())
}

/// Whether an attempt of the batch is of a delivery that the batch brings.
fn refers_to_itself(batch: &Batch) -> bool {
    let new: HashSet<DeliveryId> = batch
        .intakes
        .iter()
        .flat_map(|item| &item.events)
        .flat_map(|new| &new.deliveries)
        .map(|delivery| delivery.id)
        .collect();
    batch.attempts.iter().any(|record| match &record.subject {
        AttemptSubject::Leased { delivery, .. } | AttemptSubject::Redelivery { delivery } => {
            new.contains(delivery)
        }
        AttemptSubject::Ping(_) => false,
    })
}

async fn commit(tx: &Transaction, batch: &Batch, clock: LeaseClock) -> Result<BatchOutcome, Fault> {
    let lookups = BatchLookups::read(tx, batch).await?;
    let mut ledger = Ledger::default();
    let intake = Intake::decide(batch, &lookups, &mut ledger);
    let mut recorder = Recorder::new(&lookups, &mut ledger);
    // Events come before attempts. They go out together where none waits for the other.
    if refers_to_itself(batch) {
        intake.insert(tx, batch, &lookups, clock).await?;
        recorder.record(tx, &batch.attempts).await?;
    } else {
        try_join(intake.insert(tx, batch, &lookups, clock), recorder.record(tx, &batch.attempts)).await?;
    }
    let attempts = recorder.finish(tx, &batch.attempts).await?;
    ledger.write(tx).await?;
    let id = batch.id.uuid();
    let (_, sending_held) = try_join(tx.change(&MARK, &[&id]), is_sending_held(tx)).await?;
    let held = held_of(batch, &lookups);
    Ok(BatchOutcome { intakes: intake.into_outcomes(), attempts, held, sending_held })
}

/// The webhooks of new leased deliveries that have to wait. Mostly there are none.
fn held_of(batch: &Batch, lookups: &BatchLookups) -> Vec<(WebhookId, Health)> {
    let held = lookups.webhooks.iter().filter(|(_, webhook)| webhook.health.is_held(batch.now));
    let new = || batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
    let has_leased = |id| new().any(|delivery| delivery.webhook == id && delivery.lease.is_some());
    held.filter(|(id, _)| has_leased(**id)).map(|(id, webhook)| (*id, webhook.health)).collect()
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).expect("no allocation is larger")
}
