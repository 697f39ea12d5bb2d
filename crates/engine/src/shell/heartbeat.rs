//! The heartbeat of a node that shares its store: it reports this node, lists the other nodes, and receives their wake-ups. A
//! node with an embedded store runs none of this.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::ids::NodeId;
use stackbell_store::{EngineStore, StoreError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Message;
use super::clock::WaitingClock;
use super::metrics::Metrics;
use crate::core::Input;

/// The interval of heartbeats.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A node without a heartbeat for this long counts as lost. Two heartbeats in a row may fail.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// The time limit of the last report, which says that this node has stopped. If it fails, the other nodes notice after
/// [`LOST_AFTER`].
const FORGET_TIME_MAX: Duration = Duration::from_secs(2);

/// The task that sends the heartbeats.
pub(super) struct Heartbeat {
    pub(super) node: NodeId,
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    /// The number of live nodes.
    pub(super) nodes: watch::Sender<usize>,
    /// Cancelled once the run loop has ended and nothing is in flight.
    pub(super) idle: CancellationToken,
}

impl Heartbeat {
    /// Sends a heartbeat at each interval until nothing is in flight, then reports that this node has stopped.
    pub(super) async fn run(self) {
        let mut is_failing = false;
        loop {
            match self.report().await {
                Ok(()) => is_failing = false,
                // The nodes of the last successful report still count as live.
                Err(error) if !is_failing => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the heartbeat failed; retrying");
                    is_failing = true;
                }
                Err(_) => {}
            }
            let next = self.clock.sleep_until(self.clock.now().after(REPORT_INTERVAL));
            if self.idle.run_until_cancelled(next).await.is_none() {
                break;
            }
        }
        self.forget().await;
    }

    async fn report(&self) -> Result<(), StoreError> {
        let nodes = self.store.report_node(self.node, LOST_AFTER).await?;
        let count = nodes.len().max(1);
        if self.nodes.send_replace(count) != count {
            tracing::info!(nodes = count, "the number of live nodes changed");
        }
        self.metrics.nodes(count);
        self.tell(Input::NodesSeen { nodes }).await;
        Ok(())
    }

    async fn forget(&self) {
        let forgotten = tokio::time::timeout(FORGET_TIME_MAX, self.store.forget_node(self.node)).await;
        match forgotten {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::info!(
                    error,
                    "could not report that this node has stopped; the other nodes notice after {LOST_AFTER:?}"
                );
            }
            Err(_) => {
                tracing::info!(
                    "could not report in time that this node has stopped; the other nodes notice after {LOST_AFTER:?}"
                );
            }
        }
    }

    async fn tell(&self, input: Input) {
        // The engine has ended if nobody receives this.
        let _ = self.inbox.send(Message::Input(input)).await;
    }
}

/// The task that receives wake-ups: another node has left deliveries to send.
pub(super) struct WakeUps {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) soft: CancellationToken,
}

impl WakeUps {
    pub(super) async fn run(self) {
        while self.soft.run_until_cancelled(self.store.woken_up()).await.is_some() {
            // The engine has ended if nobody receives this.
            let _ = self.inbox.send(Message::Input(Input::WokenUp)).await;
        }
    }
}
