//! Recoveries, in steps: failed and cancelled deliveries of a webhook become pending again.
//!
//! The recoverer is a reconciler: it reads the running recoveries from the store, and does the next step of each in turn. A
//! crash between two steps loses nothing and repeats nothing. Wake-ups carry no data and may be lost.

use stackbell_model::Chain;
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_store::{EngineStore, StoreError};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::Message;
use super::clock::WaitingClock;
use super::metrics::Metrics;
use crate::core::Input;

/// How often the store is polled for recoveries without a wake-up.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The pause between two rounds, so that the writer can serve the engine.
const STEP_INTERVAL: Duration = Duration::from_millis(50);

/// The rows of one step. They take a few milliseconds of the writer's time.
const ROWS_MAX: u32 = 500;

/// The recoveries of one round. Each gets one step.
const RECOVERIES_MAX: u32 = 100;

pub(super) struct Recoverer {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) created: Arc<Notify>,
    pub(super) soft: CancellationToken,
}

impl Recoverer {
    pub(super) async fn run(self) {
        loop {
            // Registered before the lookup, so that no later wake-up is missed.
            let created = self.created.notified();
            let wait = match self.round().await {
                Ok(true) => STEP_INTERVAL,
                Ok(false) => LOOK_INTERVAL,
                Err(error) => {
                    tracing::warn!(
                        error = %Chain(&error),
                        "running recoveries could not be read; it is tried again"
                    );
                    LOOK_INTERVAL
                }
            };
            let next = self.clock.sleep_until(self.clock.now().after(wait));
            let woken = async {
                tokio::select! {
                    () = next => {}
                    () = created => {}
                }
            };
            if self.soft.run_until_cancelled(woken).await.is_none() {
                return;
            }
        }
    }

    /// Runs one step of each running recovery, so that none waits for another to finish. Returns whether more can be done now.
    async fn round(&self) -> Result<bool, StoreError> {
        let running = self.store.running_recoveries(RECOVERIES_MAX).await?;
        let mut still_running = 0;
        let mut goes_on = false;
        for recovery in running {
            if self.soft.is_cancelled() {
                return Ok(false);
            }
            match self.step(&recovery).await {
                Ok(is_running) => {
                    still_running += u64::from(is_running);
                    goes_on |= is_running;
                }
                Err(error) => {
                    // An unreadable row stops only its own recovery.
                    tracing::error!(
                        recovery.id = %recovery.id,
                        error = %Chain(&error),
                        "a step of a recovery failed; it is tried again"
                    );
                    still_running += 1;
                }
            }
        }
        self.metrics.recoveries(still_running);
        Ok(goes_on)
    }

    async fn step(&self, recovery: &Recovery) -> Result<bool, StoreError> {
        let stands = self.store.advance_recovery(recovery.id, self.clock.now(), ROWS_MAX).await?;
        let input = Input::LaneChanged { organization: recovery.organization, webhook: recovery.webhook };
        // The engine has ended if nobody receives this. The store has all state.
        let _ = self.inbox.send(Message::Input(input)).await;
        let Some(stands) = stands else { return Ok(false) };
        let (recovery_id, webhook, rearmed) = (stands.id, stands.webhook, stands.rearmed);
        match stands.state {
            RecoveryState::Running => return Ok(true),
            RecoveryState::Done { .. } => {
                tracing::info!(recovery.id = %recovery_id, webhook.id = %webhook, rearmed, "a recovery is done");
            }
            RecoveryState::Abandoned { .. } => tracing::info!(
                recovery.id = %recovery_id, webhook.id = %webhook, rearmed,
                "a recovery was abandoned: its webhook was deleted"
            ),
        }
        Ok(false)
    }
}
