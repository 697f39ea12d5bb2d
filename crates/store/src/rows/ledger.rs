//! The changes of counts in a transaction. They are summed up during the transaction and written once, at its
//! end.

use std::collections::BTreeMap;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Verdict};

use crate::decision::attempt::Transition;
use crate::statistics::{Tally, hour_of};

/// The webhook number that stands for an organization as a whole.
pub const WHOLE_ORGANIZATION: i64 = 0;

/// A webhook, by the numbers under which it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The number of its organization.
    pub organization: i64,
    /// Its own number, or [`WHOLE_ORGANIZATION`].
    pub webhook: i64,
}

/// A change of an organization's usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageChange {
    /// The change of the number of pending deliveries.
    pub pending: i64,
    /// The change of the number of stored bytes.
    pub stored_bytes: i64,
}

/// The key of a tally's row, ordered as in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyKey {
    /// The start of the hour, in UTC milliseconds.
    pub hour: i64,
    /// The organization's number.
    pub organization: i64,
    /// The number of the webhook, or [`WHOLE_ORGANIZATION`].
    pub webhook: i64,
}

/// The changes to write; none of them is zero.
#[derive(Debug)]
pub struct Sums {
    /// The tallies of webhooks and of whole organizations, in the order of writing.
    pub tallies: BTreeMap<TallyKey, Tally>,
    /// The changes of usage, by the organization's number.
    pub usage: BTreeMap<i64, UsageChange>,
}

/// The counts of one transaction.
#[derive(Debug, Default)]
pub struct Counts {
    tallies: BTreeMap<TallyKey, Tally>,
    usage: BTreeMap<i64, UsageChange>,
}

impl Counts {
    /// Counts an accepted event.
    pub fn event(&mut self, organization: i64, at: Timestamp, stored_bytes: i64) {
        self.tally(Account { organization, webhook: WHOLE_ORGANIZATION }, at).events += 1;
        self.stored(organization, stored_bytes);
    }

    /// Counts an inserted delivery, and its end if it is inserted with one.
    pub fn inserted(&mut self, account: Account, delivery: &Delivery) {
        self.made(account, delivery.created_at);
        match &delivery.state {
            State::Pending { .. } => self.pending(account.organization, 1),
            State::Succeeded { at } | State::Failed { at, .. } | State::Cancelled { at, .. } => {
                self.ended(account, *at, delivery.state.kind());
            }
        }
    }

    /// Counts a transition at `at`.
    pub fn moved(&mut self, account: Account, at: Timestamp, transition: &Transition) {
        let to = transition.to.kind();
        if transition.from == StateKind::Pending && to != StateKind::Pending {
            self.pending(account.organization, -1);
        }
        if transition.ended().is_some() {
            self.ended(account, at, to);
        }
    }

    /// Counts a new delivery.
    pub fn made(&mut self, account: Account, at: Timestamp) {
        self.tally(account, at).made += 1;
    }

    /// Counts a delivery that ended in this state.
    pub fn ended(&mut self, account: Account, at: Timestamp, state: StateKind) {
        let tally = self.tally(account, at);
        match state {
            StateKind::Pending => {}
            StateKind::Succeeded => tally.succeeded += 1,
            StateKind::Failed => tally.failed += 1,
            StateKind::Cancelled => tally.cancelled += 1,
        }
    }

    /// Counts a recorded attempt.
    pub fn attempt(&mut self, account: Account, attempt: &Attempt, stored_bytes: i64) {
        let tally = self.tally(account, attempt.started_at.after(attempt.duration));
        tally.attempts += 1;
        tally.attempts_failed += u64::from(attempt.outcome.verdict() != Verdict::Success);
        tally.attempts_took += attempt.duration;
        self.stored(account.organization, stored_bytes);
    }

    /// Changes the number of pending deliveries.
    pub fn pending(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().pending += more;
    }

    /// Changes the number of stored bytes.
    pub fn stored(&mut self, organization: i64, more: i64) {
        self.usage.entry(organization).or_default().stored_bytes += more;
    }

    /// Returns the change of an organization's usage so far.
    pub fn usage(&self, organization: i64) -> UsageChange {
        self.usage.get(&organization).copied().unwrap_or_default()
    }

    fn tally(&mut self, Account { organization, webhook }: Account, at: Timestamp) -> &mut Tally {
        let hour = hour_of(at).as_millis();
        self.tallies.entry(TallyKey { hour, organization, webhook }).or_default()
    }

    /// Returns the changes to write. The tallies of webhooks are added to those of their organizations.
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
