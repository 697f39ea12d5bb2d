//! Which nodes are at work, and waking each other up.

use std::time::Duration;

use async_trait::async_trait;
use stackbell_model::ids::NodeId;

use crate::StoreError;

/// Nodes that share a store. An embedded store has one.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Whether other nodes may use the store at the same time: what was read of it may have changed since, without a word.
    fn is_shared(&self) -> bool {
        false
    }

    /// Says that a node is at work. Answers all nodes that have said so within `within` by the store's clock, this one among
    /// them, by id; the others are forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn report_node(&self, node: NodeId, within: Duration) -> Result<Vec<NodeId>, StoreError> {
        let _ = within;
        Ok(vec![node])
    }

    /// Says that a node has ended, so that the others need not wait until they miss it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError> {
        let _ = node;
        Ok(())
    }

    /// Ends when another node may have put something into the store that is due and that nobody else takes.
    /// It may end for nothing, and need not end when there is something: who waits looks now and then as well.
    /// Never ends for an embedded store. To be awaited by one task at a time; dropped in between, it loses nothing.
    async fn woken_up(&self) {
        std::future::pending::<()>().await;
    }
}
