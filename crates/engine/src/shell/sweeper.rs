//! Retention and expiry, in small steps in the background.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::retry::RetryPolicy;
use stackbell_model::{Chain, Timestamp};
use stackbell_store::maintenance::{SweepPolicy, SweepReport};
use stackbell_store::{EngineStore, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::clock::WaitingClock;
use super::metrics::Metrics;

/// How long finished deliveries and audit entries are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Finished deliveries with their attempts. Events are removed with their last delivery.
    pub finished: Duration,
    /// Audit entries.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { finished: DAY * 30, audit: DAY * 365 }
    }
}

/// The pause between two sweeps if nothing is left to remove.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The pause between two sweeps if more is left, so that the writer can serve the engine.
const STEP_INTERVAL: Duration = Duration::from_millis(20);

/// The pause between two counts of pending deliveries while sweeps continue.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// The most rows that one sweep removes. A sweep takes less than two milliseconds of the writer's time. Sweeps remove at most
/// 5,000 deliveries a second.
const ROWS_MAX: u32 = 100;

pub(super) struct Sweeper {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) retention: Retention,
    pub(super) retry: RetryPolicy,
    pub(super) metrics: Arc<Metrics>,
    /// Woken when a webhook is deleted, so that its pending deliveries are cancelled at once.
    pub(super) webhook_deleted: Arc<Notify>,
    pub(super) soft: CancellationToken,
}

impl Sweeper {
    pub(super) async fn run(self) {
        let mut counted_at = None;
        loop {
            let now = self.clock.now();
            let wait = match self.sweep(now, &mut counted_at).await {
                Ok(report) if report.more => STEP_INTERVAL,
                Ok(_) => SWEEP_INTERVAL,
                Err(error) => {
                    tracing::warn!(
                        error = %Chain(&error),
                        "a sweep failed; it is tried again"
                    );
                    SWEEP_INTERVAL
                }
            };
            let next = async {
                tokio::select! {
                    () = self.clock.sleep_until(now.after(wait)) => {}
                    () = self.webhook_deleted.notified() => {}
                }
            };
            if self.soft.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    async fn sweep(
        &self,
        now: Timestamp,
        counted_at: &mut Option<Timestamp>,
    ) -> Result<SweepReport, StoreError> {
        let policy = SweepPolicy {
            retry: self.retry.clone(),
            finished_before: now.before(self.retention.finished),
            audit_before: now.before(self.retention.audit),
            rows_max: ROWS_MAX,
        };
        let report = self.store.sweep(now, &policy).await?;
        self.metrics.swept(&report);
        if !report.more || counted_at.is_none_or(|at| now.since(at) >= COUNT_INTERVAL) {
            *counted_at = Some(now);
            self.metrics.depth(&self.store.depth().await?);
        }
        Ok(report)
    }
}
