//! What a transaction changes of the counts: added up while it goes, written once at its end.
//!
//! Always in the same order, so that no two transactions wait for each other; and each into the slot of its connection, so
//! that those that go on at the same time seldom wait at all. Of hours that are over, the sweep folds the slots into one.

use std::collections::BTreeMap;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, StateKind, Verdict};
use stackbell_store::rows::{integer, milliseconds};
use stackbell_store::statistics::{Tally, hour_of};

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

/// The webhook that stands for its organization as a whole.
pub(crate) const WHOLE_ORGANIZATION: i64 = 0;

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

/// A webhook, by the numbers that it is counted under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) organization: i64,
    pub(crate) webhook: i64,
}

/// How an organization's usage changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageChange {
    pub(crate) pending: i64,
    pub(crate) stored_bytes: i64,
}

/// The counts of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By hour, organization and webhook.
    tallies: BTreeMap<(i64, i64, i64), Tally>,
    usage: BTreeMap<i64, UsageChange>,
}

impl Ledger {
    /// An event came in.
    pub(crate) fn event(&mut self, organization: i64, at: Timestamp, stored_bytes: i64) {
        self.tally(Account { organization, webhook: WHOLE_ORGANIZATION }, at).events += 1;
        self.stored(organization, stored_bytes);
    }

    /// A delivery was made.
    pub(crate) fn made(&mut self, account: Account, at: Timestamp) {
        self.tally(account, at).made += 1;
    }

    /// A delivery came into a state that ends it.
    pub(crate) fn ended(&mut self, account: Account, at: Timestamp, state: StateKind) {
        let tally = self.tally(account, at);
        match state {
            StateKind::Pending => {}
            StateKind::Succeeded => tally.succeeded += 1,
            StateKind::Failed => tally.failed += 1,
            StateKind::Cancelled => tally.cancelled += 1,
        }
    }

    /// An attempt was recorded.
    pub(crate) fn attempt(&mut self, account: Account, attempt: &Attempt, stored_bytes: i64) {
        let tally = self.tally(account, attempt.started_at.after(attempt.duration));
        tally.attempts += 1;
        tally.attempts_failed += u64::from(attempt.outcome.verdict() != Verdict::Success);
        tally.attempts_took += attempt.duration;
        self.stored(account.organization, stored_bytes);
    }

    /// So many more are pending, or fewer.
    pub(crate) fn pending(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().pending += more;
    }

    /// So many more bytes are stored, or fewer.
    pub(crate) fn stored(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().stored_bytes += more;
    }

    /// How an organization's usage has changed so far.
    pub(crate) fn usage(&self, organization: i64) -> UsageChange {
        self.usage.get(&organization).copied().unwrap_or_default()
    }

    fn tally(&mut self, account: Account, at: Timestamp) -> &mut Tally {
        let hour = hour_of(at).as_millis();
        self.tallies.entry((hour, account.organization, account.webhook)).or_default()
    }

    /// Writes what there is to write.
    pub(crate) async fn write(mut self, tx: &Transaction) -> Result<(), Fault> {
        self.add_up_organizations();
        self.tallies.retain(|_, tally| *tally != Tally::default());
        self.usage.retain(|_, usage| *usage != UsageChange::default());
        // One after the other, in this order, on every node.
        if !self.tallies.is_empty() {
            write_tallies(tx, &self.tallies).await?;
        }
        if !self.usage.is_empty() {
            write_usage(tx, &self.usage).await?;
        }
        Ok(())
    }

    fn add_up_organizations(&mut self) {
        let of_webhooks: Vec<_> = self.tallies.iter().map(|(key, tally)| (*key, *tally)).collect();
        for ((hour, organization, webhook), tally) in of_webhooks {
            if webhook != WHOLE_ORGANIZATION {
                *self.tallies.entry((hour, organization, WHOLE_ORGANIZATION)).or_default() += tally;
            }
        }
    }
}

async fn write_tallies(tx: &Transaction, tallies: &BTreeMap<(i64, i64, i64), Tally>) -> Result<(), Fault> {
    let key = |part: fn(&(i64, i64, i64)) -> i64| tallies.keys().map(part).collect::<Vec<_>>();
    let count =
        |part: fn(&Tally) -> u64| tallies.values().map(|tally| integer(part(tally))).collect::<Vec<_>>();
    let took: Vec<i64> = tallies.values().map(|tally| milliseconds(tally.attempts_took)).collect();
    tx.change(
        &ADD_TALLIES,
        &[
            &key(|key| key.0),
            &key(|key| key.1),
            &key(|key| key.2),
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
