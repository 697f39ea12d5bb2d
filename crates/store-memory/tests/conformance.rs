//! The conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use stackbell_store::Store;
use stackbell_store::conformance::Harness;
use stackbell_store_memory::MemoryStore;

#[derive(Default)]
struct MemoryHarness(MemoryStore);

#[async_trait]
impl Harness for MemoryHarness {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.void_leases();
        Arc::new(self.0.clone())
    }
}

stackbell_store::conformance_tests!(crate::MemoryHarness::default());
