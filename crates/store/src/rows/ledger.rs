//! What a transaction changes of the counts, added up while it goes; a store writes the sums once, at its end.

use std::collections::BTreeMap;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, StateKind, Verdict};

use crate::statistics::{Tally, hour_of};

/// The webhook that stands for its organization as a whole.
pub const WHOLE_ORGANIZATION: i64 = 0;

/// A webhook, by the numbers that it is counted under.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Its organization's.
    pub organization: i64,
    /// Its own, or [`WHOLE_ORGANIZATION`].
    pub webhook: i64,
}

/// How an organization's usage changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageChange {
    /// So many more deliveries are pending, or fewer.
    pub pending: i64,
    /// So many more bytes are stored, or fewer.
    pub stored_bytes: i64,
}

/// The row that a tally goes into; in the order of the table's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyKey {
    /// When the hour began, in UTC milliseconds.
    pub hour: i64,
    /// The organization's number.
    pub organization: i64,
    /// The webhook's, or [`WHOLE_ORGANIZATION`].
    pub webhook: i64,
}

/// What there is to write: nothing in it is zero.
#[derive(Debug)]
pub struct Sums {
    /// Those of webhooks, and those of organizations as a whole, in the order in which they are to be written.
    pub tallies: BTreeMap<TallyKey, Tally>,
    /// By the organization's number.
    pub usage: BTreeMap<i64, UsageChange>,
}

/// The counts of one transaction.
#[derive(Debug, Default)]
pub struct Counts {
    tallies: BTreeMap<TallyKey, Tally>,
    usage: BTreeMap<i64, UsageChange>,
}

impl Counts {
    /// An event came in.
    pub fn event(&mut self, organization: i64, at: Timestamp, stored_bytes: i64) {
        self.tally(Account { organization, webhook: WHOLE_ORGANIZATION }, at).events += 1;
        self.stored(organization, stored_bytes);
    }

    /// A delivery was made.
    pub fn made(&mut self, account: Account, at: Timestamp) {
        self.tally(account, at).made += 1;
    }

    /// A delivery came into a state that ends it.
    pub fn ended(&mut self, account: Account, at: Timestamp, state: StateKind) {
        let tally = self.tally(account, at);
        match state {
            StateKind::Pending => {}
            StateKind::Succeeded => tally.succeeded += 1,
            StateKind::Failed => tally.failed += 1,
            StateKind::Cancelled => tally.cancelled += 1,
        }
    }

    /// An attempt was recorded.
    pub fn attempt(&mut self, account: Account, attempt: &Attempt, stored_bytes: i64) {
        let tally = self.tally(account, attempt.started_at.after(attempt.duration));
        tally.attempts += 1;
        tally.attempts_failed += u64::from(attempt.outcome.verdict() != Verdict::Success);
        tally.attempts_took += attempt.duration;
        self.stored(account.organization, stored_bytes);
    }

    /// So many more are pending, or fewer.
    pub fn pending(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().pending += more;
    }

    /// So many more bytes are stored, or fewer.
    pub fn stored(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().stored_bytes += more;
    }

    /// How an organization's usage has changed so far.
    pub fn usage(&self, organization: i64) -> UsageChange {
        self.usage.get(&organization).copied().unwrap_or_default()
    }

    fn tally(&mut self, Account { organization, webhook }: Account, at: Timestamp) -> &mut Tally {
        let hour = hour_of(at).as_millis();
        self.tallies.entry(TallyKey { hour, organization, webhook }).or_default()
    }

    /// What there is to write of it; of organizations, what their webhooks come to as well.
    pub fn sums(self) -> Sums {
        let Self { mut tallies, mut usage } = self;
        let of_webhooks: Vec<_> = tallies.iter().map(|(key, tally)| (*key, *tally)).collect();
        for (key, tally) in of_webhooks {
            if key.webhook != WHOLE_ORGANIZATION {
                *tallies.entry(TallyKey { webhook: WHOLE_ORGANIZATION, ..key }).or_default() += tally;
            }
        }
        tallies.retain(|_, tally| *tally != Tally::default());
        usage.retain(|_, change| *change != UsageChange::default());
        Sums { tallies, usage }
    }
}
