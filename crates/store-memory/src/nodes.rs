//! Nodes of a store that several engines share: see [`MemoryStore::shared`].

use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::ids::NodeId;
use stackbell_store::StoreError;
use stackbell_store::nodes::Nodes;

use crate::MemoryStore;

/// The store has no clock, so a node stays until it is removed explicitly. There are no notifications.
#[async_trait]
impl Nodes for MemoryStore {
    fn is_shared(&self) -> bool {
        self.lock().is_shared
    }

    async fn report_node(&self, node: NodeId, _within: Duration) -> Result<Vec<NodeId>, StoreError> {
        let mut tables = self.lock();
        if !tables.is_shared {
            return Ok(vec![node]);
        }
        tables.nodes.insert(node);
        Ok(tables.nodes.iter().copied().collect())
    }

    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError> {
        self.lock().nodes.remove(&node);
        Ok(())
    }
}
