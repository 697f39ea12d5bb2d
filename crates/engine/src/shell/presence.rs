//! Being one of several nodes: saying that we are at work, hearing who else is, and being woken up by them.
//! For a store that other nodes may use; one that is ours alone has none of it.

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

/// How often a node says that it is at work.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A node that has said nothing for so long is taken for lost: two reports may fail.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// How long it may take to say that we have ended. Others find out by themselves.
const FORGET_TIME_MAX: Duration = Duration::from_secs(2);

/// This node among the others.
pub(super) struct Presence {
    pub(super) node: NodeId,
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    /// How many nodes are at work.
    pub(super) nodes: watch::Sender<usize>,
    /// The run loop has ended: nothing is under way any more.
    pub(super) idle: CancellationToken,
}

impl Presence {
    /// Says that this node is at work until nothing is under way any more, and then that it has ended.
    pub(super) async fn run(self) {
        let mut is_failing = false;
        loop {
            match self.report().await {
                Ok(()) => is_failing = false,
                // Who was seen last is taken to be there yet.
                Err(error) if !is_failing => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "this node could not say that it is at work; it is tried again");
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
            tracing::info!(nodes = count, "other nodes have come or gone");
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
                tracing::info!(error, "the others were not told that this node has ended; they find out");
            }
            Err(_) => {
                tracing::info!("the others were not told in time that this node has ended; they find out");
            }
        }
    }

    async fn tell(&self, input: Input) {
        // An engine that has ended has nothing to be told.
        let _ = self.inbox.send(Message::Input(input)).await;
    }
}

/// Hears when another node has left something to be sent.
pub(super) struct WakeUps {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) soft: CancellationToken,
}

impl WakeUps {
    pub(super) async fn run(self) {
        while self.soft.run_until_cancelled(self.store.woken_up()).await.is_some() {
            // An engine that has ended has nothing to be told.
            let _ = self.inbox.send(Message::Input(Input::WokenUp)).await;
        }
    }
}
