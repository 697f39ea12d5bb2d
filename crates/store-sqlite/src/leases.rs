//! Leases, in memory. Only one process uses the file, so a crash makes all leases void, and a lease costs no write.
//!
//! Leases are part of a transaction: if it does not commit, its changes of leases are undone.
//! A lease stays, even after its deadline, until another replaces it, its delivery ends, or a sweep finds it [`KEPT_AFTER`]
//! its deadline. Their number is therefore close to that of the deliveries in flight.

use std::collections::HashMap;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_store::commit::Lease;

/// The time after its deadline during which an outcome can still be recorded under a lease that nobody took over. It is much
/// longer than any attempt takes.
const KEPT_AFTER: Duration = Duration::from_secs(3600);

/// All leases, by the rowid of their delivery.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: HashMap<i64, Lease>,
    /// The leases that this transaction replaced, oldest first.
    replaced: Vec<(i64, Option<Lease>)>,
}

impl Leases {
    /// The lease on a delivery, even if it has expired.
    pub(crate) fn get(&self, delivery: i64) -> Option<Lease> {
        self.held.get(&delivery).copied()
    }

    /// The deadline of a delivery's lease; `None` if there is no lease or it has expired.
    pub(crate) fn held_until(&self, delivery: i64, now: Timestamp) -> Option<Timestamp> {
        self.get(delivery).map(|lease| lease.until).filter(|until| *until > now)
    }

    /// Leases a delivery. Replaces its earlier lease.
    pub(crate) fn grant(&mut self, delivery: i64, lease: Lease) {
        let before = self.held.insert(delivery, lease);
        self.replaced.push((delivery, before));
    }

    /// Ends the lease on a delivery, if there is one.
    pub(crate) fn end(&mut self, delivery: i64) {
        if let Some(before) = self.held.remove(&delivery) {
            self.replaced.push((delivery, Some(before)));
        }
    }

    /// Ends the leases whose deadline is at least [`KEPT_AFTER`] ago.
    pub(crate) fn end_stale(&mut self, now: Timestamp) {
        let is_stale = |lease: &Lease| lease.until.after(KEPT_AFTER) <= now;
        let stale = self.held.extract_if(|_, lease| is_stale(lease));
        self.replaced.extend(stale.map(|(delivery, lease)| (delivery, Some(lease))));
    }

    /// Keeps the changes: the transaction has committed.
    pub(crate) fn keep(&mut self) {
        self.replaced.clear();
    }

    /// Undoes the changes: the transaction has not committed.
    pub(crate) fn undo(&mut self) {
        for (delivery, before) in self.replaced.drain(..).rev() {
            match before {
                Some(lease) => self.held.insert(delivery, lease),
                None => self.held.remove(&delivery),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stackbell_model::ids::LeaseToken;
    use uuid::Uuid;

    fn lease(token: u128, until: i64) -> Lease {
        Lease { token: LeaseToken::from_uuid(Uuid::from_u128(token)), until: Timestamp::from_millis(until) }
    }

    #[test]
    fn a_transaction_that_does_not_commit_changes_no_lease() {
        let mut leases = Leases::default();
        leases.grant(1, lease(1, 10));
        leases.keep();
        leases.grant(1, lease(2, 20));
        leases.end(1);
        leases.grant(2, lease(2, 20));
        leases.end_stale(Timestamp::from_millis(i64::MAX));
        leases.undo();
        assert_eq!(leases.get(1), Some(lease(1, 10)));
        assert_eq!(leases.get(2), None);
    }

    #[test]
    fn an_expired_lease_is_kept_for_late_records() {
        let mut leases = Leases::default();
        leases.grant(1, lease(1, 10));
        let at = Timestamp::from_millis;
        assert_eq!(leases.held_until(1, at(9)), Some(at(10)));
        assert_eq!(leases.held_until(1, at(10)), None);
        leases.end_stale(at(10).after(KEPT_AFTER).before(Duration::from_millis(1)));
        assert_eq!(leases.get(1), Some(lease(1, 10)));
        leases.end_stale(at(10).after(KEPT_AFTER));
        assert_eq!(leases.get(1), None);
    }
}
