//! What a transaction changes of the counts: added up while it goes, written once at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, StateKind, Verdict};
use stackbell_store::statistics::{Tally, hour_of};

use crate::error::Fault;
use crate::rows::change;
use stackbell_store::rows::{integer, milliseconds};

/// The webhook that stands for its organization as a whole.
pub(crate) const WHOLE_ORGANIZATION: i64 = 0;

pub(crate) const ADD_TALLY: &str = "/* ledger.tally */ INSERT INTO tallies (hour, organization_number, \
    webhook_number, events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
    ON CONFLICT (hour, organization_number, webhook_number) DO UPDATE SET events = events + excluded.events, \
    made = made + excluded.made, succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, \
    cancelled = cancelled + excluded.cancelled, attempts = attempts + excluded.attempts, \
    attempts_failed = attempts_failed + excluded.attempts_failed, \
    attempts_took = attempts_took + excluded.attempts_took";

pub(crate) const ADD_USAGE: &str = "/* ledger.usage */ UPDATE organizations SET pending = pending + ?2, \
    stored_bytes = stored_bytes + ?3 WHERE number = ?1";

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
    /// By hour, organization and webhook: in the table's order, so that it is written along.
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
    pub(crate) fn write(mut self, connection: &Connection) -> Result<(), Fault> {
        let of_webhooks: Vec<_> = self.tallies.iter().map(|(key, tally)| (*key, *tally)).collect();
        for ((hour, organization, webhook), tally) in of_webhooks {
            if webhook != WHOLE_ORGANIZATION {
                *self.tallies.entry((hour, organization, WHOLE_ORGANIZATION)).or_default() += tally;
            }
        }
        for ((hour, organization, webhook), tally) in &self.tallies {
            write_tally(connection, [*hour, *organization, *webhook], tally)?;
        }
        for (organization, usage) in &self.usage {
            if *usage != UsageChange::default() {
                change(connection, ADD_USAGE, [*organization, usage.pending, usage.stored_bytes])?;
            }
        }
        Ok(())
    }
}

fn write_tally(connection: &Connection, key: [i64; 3], tally: &Tally) -> Result<(), Fault> {
    if *tally == Tally::default() {
        return Ok(());
    }
    let [hour, organization, webhook] = key;
    let Tally { events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took } =
        *tally;
    let took: Duration = attempts_took;
    let parameters = params![
        hour,
        organization,
        webhook,
        integer(events),
        integer(made),
        integer(succeeded),
        integer(failed),
        integer(cancelled),
        integer(attempts),
        integer(attempts_failed),
        milliseconds(took),
    ];
    change(connection, ADD_TALLY, parameters)?;
    Ok(())
}
