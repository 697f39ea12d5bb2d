//! The changes of counts in a transaction. They are summed up during the transaction and written once, at its end.
//!
//! All transactions write in the same order, so that there is no deadlock. Each connection writes its own slot, so that
//! concurrent transactions rarely wait. The sweep folds the slots of past hours into one.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

pub(crate) use stackbell_store::rows::ledger::{Account, WHOLE_ORGANIZATION};
use stackbell_store::rows::ledger::{Counts, Sums, TallyKey, UsageChange};
use stackbell_store::rows::{integer, milliseconds};
use stackbell_store::statistics::Tally;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(ADD_TALLIES = "/* ledger.tallies */ INSERT INTO tallies (hour, organization_number, webhook_number, slot, \
    events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    SELECT hour, organization_number, webhook_number, pg_backend_pid() % 16, \
        events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took \
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], \
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) \
        AS added (hour, organization_number, webhook_number, events, made, succeeded, failed, cancelled, attempts, \
        attempts_failed, attempts_took) \
    ORDER BY hour, organization_number, webhook_number \
    ON CONFLICT (hour, organization_number, webhook_number, slot) DO UPDATE SET \
        events = tallies.events + excluded.events, made = tallies.made + excluded.made, \
        succeeded = tallies.succeeded + excluded.succeeded, failed = tallies.failed + excluded.failed, \
        cancelled = tallies.cancelled + excluded.cancelled, attempts = tallies.attempts + excluded.attempts, \
        attempts_failed = tallies.attempts_failed + excluded.attempts_failed, \
        attempts_took = tallies.attempts_took + excluded.attempts_took";
    INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY,
    INT8_ARRAY, INT8_ARRAY);

statement!(ADD_USAGE = "/* ledger.usage */ INSERT INTO usage (organization_number, slot, pending, stored_bytes) \
    SELECT organization_number, pg_backend_pid() % 16, pending, stored_bytes \
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS added (organization_number, pending, stored_bytes) \
    ORDER BY organization_number \
    ON CONFLICT (organization_number, slot) DO UPDATE SET pending = usage.pending + excluded.pending, \
        stored_bytes = usage.stored_bytes + excluded.stored_bytes";
    INT8_ARRAY, INT8_ARRAY, INT8_ARRAY);

/// The changes of counts in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Counts);

impl Ledger {
    /// Writes the changes.
    pub(crate) async fn write(self, tx: &Transaction) -> Result<(), Fault> {
        let Sums { tallies, usage } = self.0.sums();
        // Tallies first, then usage, on every node.
        if !tallies.is_empty() {
            write_tallies(tx, &tallies).await?;
        }
        if !usage.is_empty() {
            write_usage(tx, &usage).await?;
        }
        Ok(())
    }
}

impl Deref for Ledger {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl DerefMut for Ledger {
    fn deref_mut(&mut self) -> &mut Counts {
        &mut self.0
    }
}

async fn write_tallies(tx: &Transaction, tallies: &BTreeMap<TallyKey, Tally>) -> Result<(), Fault> {
    let key = |part: fn(&TallyKey) -> i64| tallies.keys().map(part).collect::<Vec<_>>();
    let count =
        |part: fn(&Tally) -> u64| tallies.values().map(|tally| integer(part(tally))).collect::<Vec<_>>();
    let took: Vec<i64> = tallies.values().map(|tally| milliseconds(tally.attempts_took)).collect();
    tx.change(
        &ADD_TALLIES,
        &[
            &key(|key| key.hour),
            &key(|key| key.organization),
            &key(|key| key.webhook),
            &count(|tally| tally.events),
            &count(|tally| tally.made),
            &count(|tally| tally.succeeded),
            &count(|tally| tally.failed),
            &count(|tally| tally.cancelled),
            &count(|tally| tally.attempts),
            &count(|tally| tally.attempts_failed),
            &took,
        ],
    )
    .await
    .map(|_| ())
}

async fn write_usage(tx: &Transaction, usage: &BTreeMap<i64, UsageChange>) -> Result<(), Fault> {
    let organizations: Vec<i64> = usage.keys().copied().collect();
    let pending: Vec<i64> = usage.values().map(|change| change.pending).collect();
    let stored_bytes: Vec<i64> = usage.values().map(|change| change.stored_bytes).collect();
    tx.change(&ADD_USAGE, &[&organizations, &pending, &stored_bytes]).await.map(|_| ())
}
