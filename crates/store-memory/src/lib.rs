//! The store in memory: the reference for the port, and the simulation's disk.
//!
//! Every table is an ordered map behind one lock (the module `tables`). A method holds the lock for its whole transaction.
//! Nothing here waits, so each future is ready the first time it is polled.
//!
//! The store is not fast, and it survives only a simulated restart ([`MemoryStore::void_leases`]).

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

    /// An empty store that several nodes share. Each node has a clone of it.
    pub fn shared() -> Self {
        let store = Self::default();
        store.lock().is_shared = true;
        store
    }

    /// Gives the store its own clock, which stays at `now` until the next call. Leases use it from now on, and only their
    /// duration comes from the caller, as in a database that nodes with different clocks share.
    pub fn set_lease_clock(&self, now: Timestamp) {
        self.lock().lease_clock = Some(now);
    }

    /// Simulates a restart of an embedded store: all data stays, all leases end, and records under them are superseded.
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
