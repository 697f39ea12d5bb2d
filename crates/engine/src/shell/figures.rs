//! Computes the gauges that need the store: the number of pending deliveries, and why they wait.
//!
//! A task of its own computes them, so that long sweeps and recoveries do not delay them. They appear even if the run loop is
//! stuck, because operators need them to see that.

use std::sync::Arc;
use std::time::Duration;

use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_model::{Chain, Timestamp};
use stackbell_store::maintenance::LaneDepth;
use stackbell_store::{EngineStore, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Message;
use super::clock::WaitingClock;
use super::metrics::Metrics;
use crate::core::{LaneView, OpenBreakers, Waits, hold_of};

/// The time between two rounds, if the store is fast.
const INTERVAL: Duration = Duration::from_secs(30);

/// The longest time between two rounds. Alerts look at the change within ten minutes, which needs several values.
const INTERVAL_MAX: Duration = Duration::from_secs(120);

/// Rounds use at most 1/`TIME_SHARE` of the store's time, but the pause never exceeds [`INTERVAL_MAX`]. A million pending
/// deliveries take a few tens of milliseconds.
const TIME_SHARE: u32 = 100;

/// The number of webhooks in one query. A page takes about as much time of the run loop as a commit does.
const LANES_IN_PAGE: u32 = 1000;

/// How long a round waits for the run loop. If the run loop takes longer, it is stuck, and the reasons for which it holds
/// deliveries back no longer count.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long an API request waits for the run loop. Without it the response only lacks some detail.
const ANSWER_TIME_FOR_PEOPLE_MAX: Duration = Duration::from_secs(1);

/// Queries that the core answers from memory.
pub(super) enum Look {
    /// Why the pending deliveries of these webhooks wait.
    Waits { lanes: Vec<LaneDepth>, reply: oneshot::Sender<Waits> },
    /// The number of open circuit breakers.
    Breakers { reply: oneshot::Sender<OpenBreakers> },
    /// Whether this delivery is in flight, or its outcome is not yet recorded.
    UnderWay { delivery: DeliveryId, reply: oneshot::Sender<bool> },
    /// The state of these webhooks' lanes, given their health in the store.
    Lanes { webhooks: Vec<(WebhookId, Health)>, reply: oneshot::Sender<Vec<LaneView>> },
}

pub(super) struct Figures {
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) soft: CancellationToken,
}

impl Figures {
    pub(super) async fn run(self) {
        loop {
            let began_at = self.clock.now();
            let mut store_time = Duration::ZERO;
            if let Err(error) = self.round(began_at, &mut store_time).await {
                tracing::warn!(error = %Chain(&error), "pending deliveries could not be counted; it is tried again");
            }
            let next = self.clock.sleep_until(began_at.after(interval(store_time)));
            if self.soft.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Runs one round, and adds the time that the store took to `store_time`.
    async fn round(&self, now: Timestamp, store_time: &mut Duration) -> Result<(), StoreError> {
        self.metrics.depth(&self.timed(self.store.depth(), store_time).await?);
        let mut waits = Waits::default();
        let mut is_stuck = false;
        let mut after = None;
        loop {
            let lanes = self.timed(self.store.lane_depths(now, after, LANES_IN_PAGE), store_time).await?;
            let is_end = lanes.len() < LANES_IN_PAGE as usize;
            after = lanes.last().map(|lane| lane.webhook);
            waits.merge(&self.sort(lanes, &mut is_stuck).await);
            if is_end {
                break;
            }
        }
        self.metrics.waits(&waits, now);
        if !is_stuck && let Some(open) = self.ask(|reply| Look::Breakers { reply }).await {
            self.metrics.open_breakers(open);
        }
        Ok(())
    }

    async fn timed<T>(&self, response: impl Future<Output = T>, store_time: &mut Duration) -> T {
        let asked_at = self.clock.now();
        let response = response.await;
        *store_time += self.clock.now().since(asked_at);
        response
    }

    /// Asks the core why these deliveries wait. Does not ask again if the core was stuck earlier in this round.
    async fn sort(&self, lanes: Vec<LaneDepth>, is_stuck: &mut bool) -> Waits {
        if !*is_stuck {
            let asked = lanes.clone();
            if let Some(waits) = self.ask(|reply| Look::Waits { lanes: asked, reply }).await {
                return waits;
            }
            *is_stuck = true;
        }
        let mut waits = Waits::default();
        lanes.iter().for_each(|lane| waits.add(lane, hold_of(lane)));
        waits
    }

    async fn ask<T>(&self, look: impl FnOnce(oneshot::Sender<T>) -> Look) -> Option<T> {
        ask(&self.inbox, ANSWER_TIME_MAX, look).await
    }
}

/// The time from the start of one round to the start of the next.
fn interval(store_time: Duration) -> Duration {
    store_time.saturating_mul(TIME_SHARE).clamp(INTERVAL, INTERVAL_MAX)
}

/// Queries the core for an API request; `None` if it does not reply in time.
pub(super) async fn ask_for_person<T>(
    inbox: &mpsc::Sender<Message>,
    look: impl FnOnce(oneshot::Sender<T>) -> Look,
) -> Option<T> {
    ask(inbox, ANSWER_TIME_FOR_PEOPLE_MAX, look).await
}

/// Queries the core; `None` if it does not reply within `time_max`.
async fn ask<T>(
    inbox: &mpsc::Sender<Message>,
    time_max: Duration,
    look: impl FnOnce(oneshot::Sender<T>) -> Look,
) -> Option<T> {
    let (reply, response) = oneshot::channel();
    let asked = async {
        inbox.send(Message::Look(look(reply))).await.ok()?;
        response.await.ok()
    };
    tokio::time::timeout(time_max, asked).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use stackbell_model::Clock;
    use stackbell_store_memory::MemoryStore;
    use tokio::time::Instant;

    use super::*;

    /// A clock that follows the paused time of the test runtime.
    struct TestClock(Instant);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_778_653_205_000).after(self.0.elapsed())
        }
    }

    #[async_trait]
    impl WaitingClock for TestClock {
        async fn sleep_until(&self, at: Timestamp) {
            tokio::time::sleep(at.since(self.now())).await;
        }
    }

    #[test]
    fn the_interval_between_rounds_grows_with_the_time_of_a_round_up_to_two_minutes() {
        let after = |milliseconds| interval(Duration::from_millis(milliseconds)).as_secs();
        assert_eq!([0, 300, 500, 1200, 20_000].map(after), [30, 30, 50, 120, 120]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_run_loop_delays_no_round() {
        let (inbox, _stuck) = mpsc::channel(1);
        let figures = Figures {
            store: Arc::new(MemoryStore::shared()),
            clock: Arc::new(TestClock(Instant::now())),
            metrics: Arc::default(),
            inbox: inbox.clone(),
            soft: CancellationToken::new(),
        };
        let (began_at, mut store_time) = (Instant::now(), Duration::ZERO);
        figures.round(figures.clock.now(), &mut store_time).await.expect("the store works");
        assert_eq!(store_time, Duration::ZERO);
        let took = began_at.elapsed();
        assert!(took >= ANSWER_TIME_MAX && took < ANSWER_TIME_MAX * 2, "{took:?}");

        let began_at = Instant::now();
        assert_eq!(ask_for_person(&inbox, |reply| Look::Breakers { reply }).await, None);
        assert!(began_at.elapsed() < ANSWER_TIME_FOR_PEOPLE_MAX * 2);
    }
}
