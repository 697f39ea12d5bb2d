//! The figures that are worked out now and then: what is pending, and what it waits for.
//!
//! A task of its own: long sweeps and recoveries must not leave old figures standing.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::health::Health;
use stackbell_model::ids::WebhookId;
use stackbell_model::{Chain, Timestamp};
use stackbell_store::maintenance::LaneDepth;
use stackbell_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Message;
use super::clock::WaitingClock;
use super::metrics::Metrics;
use crate::core::{LaneView, OpenBreakers, Waits, hold_of};

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(30);

/// A round may take this part of the time, whatever the backlog. A million pending deliveries take a few tens of milliseconds.
const TIME_SHARE: u32 = 100;

/// Webhooks that are asked of at once: about as much of the run loop's time as a commit takes.
const LANES_IN_PAGE: u32 = 1000;

/// How long the run loop is waited for. One that takes longer is stuck, and then nothing of what is due has a good reason to wait.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Questions to the machine, which it answers out of what it keeps.
pub(super) enum Look {
    /// Why the pending deliveries of these webhooks wait.
    Waits { lanes: Vec<LaneDepth>, reply: oneshot::Sender<Waits> },
    /// How many breakers are open.
    Breakers { reply: oneshot::Sender<OpenBreakers> },
    /// How the ways out of these webhooks are, given what the store says of their health.
    Lanes { webhooks: Vec<(WebhookId, Health)>, reply: oneshot::Sender<Vec<LaneView>> },
}

pub(super) struct Figures {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) soft: CancellationToken,
}

impl Figures {
    pub(super) async fn run(self) {
        loop {
            let began_at = self.clock.now();
            if let Err(error) = self.round(began_at).await {
                tracing::warn!(error = %Chain(&error), "pending deliveries could not be counted; it is tried again");
            }
            let took = self.clock.now().since(began_at);
            let next = self.clock.sleep_until(began_at.after(INTERVAL.max(took * TIME_SHARE)));
            if self.soft.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    async fn round(&self, now: Timestamp) -> Result<(), StoreError> {
        self.metrics.depth(&self.store.depth().await?);
        let mut waits = Waits::default();
        let mut after = None;
        loop {
            let lanes = self.store.lane_depths(now, after, LANES_IN_PAGE).await?;
            let is_end = lanes.len() < LANES_IN_PAGE as usize;
            after = lanes.last().map(|lane| lane.webhook);
            waits.merge(&self.sort(lanes).await);
            if is_end {
                break;
            }
        }
        self.metrics.waits(&waits, now);
        if let Some(open) = self.ask(|reply| Look::Breakers { reply }).await {
            self.metrics.open_breakers(open);
        }
        Ok(())
    }

    /// Asks the machine why these wait.
    async fn sort(&self, lanes: Vec<LaneDepth>) -> Waits {
        let asked = lanes.clone();
        if let Some(waits) = self.ask(|reply| Look::Waits { lanes: asked, reply }).await {
            return waits;
        }
        let mut waits = Waits::default();
        lanes.iter().for_each(|lane| waits.add(lane, hold_of(lane)));
        waits
    }

    async fn ask<T>(&self, look: impl FnOnce(oneshot::Sender<T>) -> Look) -> Option<T> {
        ask(&self.inbox, look).await
    }
}

/// Asks the machine; `None` where no answer came in time.
pub(super) async fn ask<T>(
    inbox: &mpsc::Sender<Message>,
    look: impl FnOnce(oneshot::Sender<T>) -> Look,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        inbox.send(Message::Look(look(reply))).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(ANSWER_TIME_MAX, asked).await.ok().flatten()
}
