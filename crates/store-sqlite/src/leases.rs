//! Leases. In memory: one process has the file, so a crash voids them by itself, and leasing costs no write.
//!
//! They follow the transaction that they are part of: what it granted or ended is undone when it does not commit.
//! A lease stays, whether past its deadline or not, until another takes its place, its delivery ends, or a sweep finds it
//! [`KEPT_AFTER`] its deadline; so there are never many more of them than deliveries in flight.

use std::collections::HashMap;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_store::commit::Lease;

/// How long after its deadline a lease that nobody took over can still be recorded under.
/// Far longer than any attempt lasts.
const KEPT_AFTER: Duration = Duration::from_secs(3600);

/// All leases, by the number of their delivery.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: HashMap<i64, Lease>,
    /// What this transaction replaced, oldest first.
    replaced: Vec<(i64, Option<Lease>)>,
}

impl Leases {
    /// The lease on a delivery, past its deadline or not.
    pub(crate) fn get(&self, delivery: i64) -> Option<Lease> {
        self.held.get(&delivery).copied()
    }

    /// Until when others must leave a delivery alone; `None` when they may have it.
    pub(crate) fn held_until(&self, delivery: i64, now: Timestamp) -> Option<Timestamp> {
        self.get(delivery).map(|lease| lease.until).filter(|until| *until > now)
    }

    /// Leases a delivery, in place of whoever held it.
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

    /// Ends those that are long past their deadline.
    pub(crate) fn end_stale(&mut self, now: Timestamp) {
        let is_stale = |lease: &Lease| lease.until.after(KEPT_AFTER) <= now;
        let stale = self.held.extract_if(|_, lease| is_stale(lease));
        self.replaced.extend(stale.map(|(delivery, lease)| (delivery, Some(lease))));
    }

    /// The transaction committed.
    pub(crate) fn keep(&mut self) {
        self.replaced.clear();
    }

    /// The transaction did not commit.
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
    fn they_follow_their_transaction() {
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
    fn past_its_deadline_it_holds_nobody_off_but_is_still_there() {
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
