//! The store in memory: the reference for the port, and the simulation's disk.
//!
//! Every table is a plain ordered map behind one lock (the module `tables`), and every method takes that lock once:
//! that is its transaction. Nothing here waits, so each future is ready the first time it is polled.
//!
//! It does not promise speed, and it outlives nothing but a *pretended* restart ([`MemoryStore::void_leases`]).

mod audit;
mod commit;
mod deployments;
mod history;
mod identity;
mod instance;
mod keys;
mod maintenance;
mod nodes;
mod queue;
mod recoveries;
mod sources;
mod statistics;
mod tables;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard};

use stackbell_model::Timestamp;
use tables::Tables;

/// A store in memory. Clones share their contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that several nodes use at the same time, each a clone of it.
    pub fn shared() -> Self {
        let store = Self::default();
        store.lock().is_shared = true;
        store
    }

    /// From here on leases go by a clock of the store's own, which says `now` until it is set again; of who asks for one
    /// only how long it lasts counts. So does a database that nodes share whose clocks are apart.
    pub fn set_lease_clock(&self, now: Timestamp) {
        self.lock().lease_clock = Some(now);
    }

    /// What a restart does to an embedded store: all data stays, all leases end,
    /// and whoever still holds one comes too late.
    pub fn void_leases(&self) {
        for row in self.lock().deliveries.values_mut() {
            row.lease = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("a panic within a transaction would have left it half done")
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use stackbell_model::Timestamp;
    use stackbell_model::ids::BatchId;
    use stackbell_store::commit::{Batch, BatchOutcome, Commit};

    use super::MemoryStore;

    #[test]
    fn a_future_is_ready_the_first_time_it_is_polled() {
        let store = MemoryStore::new();
        let batch = Batch::new(BatchId::from_uuid(uuid::Uuid::nil()), Timestamp::from_millis(0));
        let mut commit = pin!(store.commit(Arc::new(batch)));
        match commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => assert_eq!(outcome.expect("commit"), BatchOutcome::default()),
            Poll::Pending => panic!("it waits for something"),
        }
    }
}
