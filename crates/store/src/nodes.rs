//! The running nodes, and notifications between them.

use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::ids::NodeId;

use crate::StoreError;

/// The nodes that share a store. An embedded store has one.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Whether other nodes may use the store at the same time. They may change data without notice.
    fn is_shared(&self) -> bool {
        false
    }

    /// Records a heartbeat of a node. Returns all nodes with a heartbeat within `within` by the store's
    /// clock, including this one, ordered by id. Older nodes are removed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn report_node(&self, node: NodeId, within: Duration) -> Result<Vec<NodeId>, StoreError> {
        let _ = within;
        Ok(vec![node])
    }

    /// Records that a node has ended, so that the others do not have to wait for its missing heartbeat.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError> {
        let _ = node;
        Ok(())
    }

    /// Returns when another node may have stored due deliveries that no other node takes. Never returns for
    /// an embedded store.
    ///
    /// A notification may be spurious or lost, so the caller must poll as well. One task at a time may await
    /// it; cancellation between calls loses nothing.
    async fn woken_up(&self) {
        std::future::pending::<()>().await;
    }
}
