//! The group commit, in three round trips: the lookups, the new rows, and the updates that follow from them.
//!
//! Each item of a batch is checked completely before any of it is written, so that a refused item leaves nothing behind.
//! The organizations' rows are locked `FOR SHARE` until the end. An edit that increments their version therefore comes before or
//! after the whole batch (invariant 10), and batches run concurrently.
//!
//! If the response to the commit is lost, the row in `commits` shows whether it happened.

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

// Updates an existing mark, so that the response waits for disk and standbys, as the batch's response would have.
statement!(GIVE_UP = "/* commit.give_up */ INSERT INTO commits (id, at, given_up) VALUES ($1, now_ms(), true) \
    ON CONFLICT (id) DO UPDATE SET at = commits.at RETURNING id, given_up"; UUID);

/// The maximum time to find out whether a commit happened. A restart or a failover of the database takes less.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(8);

/// The wait between two attempts to find out whether a commit happened.
const SETTLE_WAIT: Duration = Duration::from_millis(200);

#[async_trait]
impl Commit for PostgresStore {
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError> {
        if batch.intakes.is_empty() && batch.attempts.is_empty() {
            return Ok(BatchOutcome::default());
        }
        let clock = self.lease_clock;
        let done = self.engine_pool.try_run(Access::Write, |tx| {
            let batch = Arc::clone(&batch);
            async move { commit(&tx, &batch, clock).await }
        });
        match done.await {
            Ok(outcome) => {
                if has_unleased(&batch) {
                    self.wake_ups.request();
                }
                Ok(outcome)
            }
            Err(Failed::RolledBack(fault)) => {
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
    /// Finds out whether a batch was committed after the response to its commit was lost.
    ///
    /// It inserts the batch's mark, as given up. If the batch's own mark exists, the batch was committed. If the batch's
    /// transaction is still open, the insert waits for its end. Otherwise the batch can no longer commit. If the response to this
    /// is lost too, the next attempt has the same result.
    async fn settle(
        &self,
        batch: &Batch,
        outcome: BatchOutcome,
        fault: Fault,
    ) -> Result<BatchOutcome, StoreError> {
        let (id, began) = (batch.id.uuid(), Instant::now());
        loop {
            match self.engine_pool.try_run(Access::Write, |tx| async move { give_up(&tx, id).await }).await {
                Ok(false) => return Ok(outcome),
                Ok(true) => return Err(fault.into_store_error("commit")),
                Err(_) if began.elapsed() < SETTLE_TIME_MAX => tokio::time::sleep(SETTLE_WAIT).await,
                Err(_) => return Err(StoreError::Unknown { context: "commit", source: Box::new(fault) }),
            }
        }
    }
}

/// Gives the batch up; false if it was committed.
async fn give_up(tx: &Transaction, id: Uuid) -> Result<bool, Fault> {
    let given_up = tx
        .first(&GIVE_UP, &[&id], "commits", |cursor| {
            cursor.skip("id")?;
            cursor.flag("given_up")
        })
        .await?;
    given_up.ok_or(Fault::Contended)
}

/// Whether the batch has unleased deliveries, which other nodes can send.
fn has_unleased(batch: &Batch) -> bool {
    let new = batch.intakes.iter().flat_map(|item| &item.events);
    new.flat_map(|new| &new.deliveries).any(|delivery| delivery.lease.is_none())
}

/// Whether the batch records an attempt of a delivery that it also inserts.
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
    // Events come before attempts. Both are sent together if no attempt depends on a new event.
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

/// The held webhooks among those of new leased deliveries. Usually there are none.
fn held_of(batch: &Batch, lookups: &BatchLookups) -> Vec<(WebhookId, Health)> {
    let held = lookups.webhooks.iter().filter(|(_, webhook)| webhook.health.is_held(batch.now));
    let new = || batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
    let has_leased = |id| new().any(|delivery| delivery.webhook == id && delivery.lease.is_some());
    held.filter(|(id, _)| has_leased(**id)).map(|(id, webhook)| (*id, webhook.health)).collect()
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).expect("no allocation is larger")
}
