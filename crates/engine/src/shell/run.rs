//! The run loop.

use std::collections::HashMap;
use std::sync::Arc;

use stackbell_model::delivery::{Attempt, Outcome, Verdict};
use stackbell_model::health::Health;
use stackbell_model::ids::WebhookId;
use stackbell_model::{Chain, Timestamp};
use stackbell_store::commit::{Batch, BatchOutcome, IntakeOutcome};
use stackbell_store::{EngineStore, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::WaitingClock;
use super::commit_outage::CommitOutage;
use super::figures::Look;
use super::metrics::Metrics;
use super::sender::Sender;
use super::{Message, OnDemandReply, PublishReply};
use crate::core::{
    AttemptRequest, Command, CommitFault, CommitNumber, Core, Input, Notice, OnDemand, OnDemandTicket,
    Publish, PublishTicket,
};

/// The most messages taken at once. Their effects go into one commit.
const BURST_MAX: usize = 1024;

pub(super) struct Run {
    pub(super) core: Core,
    pub(super) store: Arc<dyn EngineStore>,
    pub(super) sender: Arc<Sender>,
    pub(super) clock: Arc<dyn WaitingClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) tasks: TaskTracker,
    pub(super) soft: CancellationToken,
    /// Cancelled if the loop, or a task that it waits for, ends unexpectedly.
    pub(super) ended: CancellationToken,
    pub(super) commit_outage: Arc<CommitOutage>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    publishes: HashMap<PublishTicket, PublishReply>,
    on_demand: HashMap<OnDemandTicket, OnDemandReply>,
}

impl Run {
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let _ended = self.ended.clone().drop_guard();
        let mut waiting = Waiting::default();
        let mut burst = Vec::with_capacity(BURST_MAX);
        let mut commands = Vec::new();
        let mut wake_at = None;
        let mut stopping = false;
        self.turn(&mut waiting, vec![Input::Tick], &mut commands, &mut wake_at);
        while !(stopping && self.core.is_idle()) {
            let mut inputs = Vec::new();
            tokio::select! {
                taken = messages.recv_many(&mut burst, BURST_MAX) => {
                    debug_assert!(taken > 0, "the loop holds a sender itself, so the channel never ends");
                    inputs.extend(burst.drain(..).filter_map(|message| self.input_of(message, &mut waiting)));
                }
                () = sleep_until(self.clock.as_ref(), wake_at) => inputs.push(Input::Tick),
                () = self.soft.cancelled(), if !stopping => {
                    stopping = true;
                    inputs.push(Input::Stop);
                }
            }
            self.turn(&mut waiting, inputs, &mut commands, &mut wake_at);
        }
    }

    /// Returns the core's input for a message. Queries are answered at once.
    fn input_of(&mut self, message: Message, waiting: &mut Waiting) -> Option<Input> {
        match message {
            Message::Publish { organization, authority, change, events, reply } => {
                let publish = |ticket| Publish { ticket, organization, authority, change, events };
                Some(waiting.publish(publish, reply))
            }
            Message::OnDemand { request, reply } => Some(waiting.on_demand(request, reply)),
            Message::Input(input) => Some(input),
            Message::Look(look) => {
                self.look(look);
                None
            }
        }
    }

    /// Answers a query. A caller that has given up does not matter.
    fn look(&mut self, look: Look) {
        match look {
            Look::Waits { lanes, reply } => {
                let _ = reply.send(self.core.waits(&lanes, self.clock.now()));
            }
            Look::Breakers { reply } => {
                let _ = reply.send(self.core.open_breakers());
            }
            Look::UnderWay { delivery, reply } => {
                let _ = reply.send(self.core.is_under_way(delivery));
            }
            Look::Lanes { webhooks, reply } => {
                let now = self.clock.now();
                let look =
                    |(webhook, health): &(WebhookId, Health)| self.core.lane_view(*webhook, health, now);
                let _ = reply.send(webhooks.iter().map(look).collect());
            }
        }
    }

    /// Runs one turn of the core: feeds it the inputs and starts its commands.
    fn turn(
        &mut self,
        waiting: &mut Waiting,
        inputs: Vec<Input>,
        commands: &mut Vec<Command>,
        wake_at: &mut Option<Timestamp>,
    ) {
        let now = self.clock.now();
        for input in inputs {
            self.core.handle(input, now, commands);
        }
        *wake_at = None;
        self.core.flush(now, commands);
        self.metrics.under_way(self.core.attempts_in_flight(), self.core.unrecorded());
        for command in commands.drain(..) {
            self.execute(command, waiting, wake_at);
        }
    }

    fn execute(&self, command: Command, waiting: &mut Waiting, wake_at: &mut Option<Timestamp>) {
        match command {
            Command::LoadWebhooks { organization } => self.come_back(|store| async move {
                match store.organization_webhooks(organization).await {
                    Ok(webhooks) => Input::WebhooksLoaded { organization, webhooks },
                    Err(error) => {
                        log(&error, "an organization's webhooks could not be read");
                        Input::LoadFailed { organization }
                    }
                }
            }),
            Command::Commit { number, batch } => {
                let (commit_outage, metrics) = (Arc::clone(&self.commit_outage), Arc::clone(&self.metrics));
                self.come_back(move |store| commit(store, commit_outage, metrics, number, batch));
            }
            Command::Lease { lanes, lease } => {
                let now = self.clock.now();
                self.come_back(move |store| async move {
                    match store.lease_deliveries(&lanes, now, lease).await {
                        Ok(leased) => Input::Leased(leased),
                        Err(error) => {
                            log(&error, "deliveries could not be leased");
                            Input::LeaseFailed { corrupt: matches!(error, StoreError::Corrupt { .. }) }
                        }
                    }
                });
            }
            Command::Release { held } => self.come_back(move |store| async move {
                let done = match store.release_deliveries(&held).await {
                    Ok(()) => true,
                    Err(error) => {
                        log(&error, "leases could not be given back; they end by themselves");
                        false
                    }
                };
                Input::Released { held, done }
            }),
            Command::FindLanes { after, limit } => self.come_back(move |store| async move {
                match store.due_lanes(after, limit).await {
                    Ok(lanes) => Input::LanesFound { lanes },
                    Err(error) => {
                        log(&error, "pending deliveries could not be looked for");
                        Input::LanesNotFound
                    }
                }
            }),
            Command::ReadSendingHold => self.come_back(|store| async move {
                match store.sending_hold().await {
                    Ok(hold) => Input::SendingRead { hold },
                    Err(error) => {
                        log(&error, "whether sending is held could not be read; it is read again");
                        Input::SendingNotRead
                    }
                }
            }),
            Command::Attempt(send) => self.send(send),
            Command::RespondPublish { ticket, response } => {
                // The producer may have gone away; its response is dropped then.
                let _ = waiting.publishes.remove(&ticket).map(|reply| reply.send(response));
            }
            Command::RespondOnDemand { ticket, response } => {
                let _ = waiting.on_demand.remove(&ticket).map(|reply| reply.send(response));
            }
            Command::WakeAt(at) => *wake_at = Some(at),
            Command::Note(notice) => self.note(&notice),
        }
    }

    fn come_back<F>(&self, ask: impl FnOnce(Arc<dyn EngineStore>) -> F)
    where
        F: Future<Output = Input> + std::marker::Send + 'static,
    {
        let response = ask(Arc::clone(&self.store));
        let inbox = self.inbox.clone();
        // Ends the engine if the task panics. Otherwise the loop would wait for its input forever.
        let unanswered = self.ended.clone().drop_guard();
        self.tasks.spawn(async move {
            // The loop ends only when it is idle, so a later input is of no use.
            let _ = inbox.send(Message::Input(response.await)).await;
            unanswered.disarm();
        });
    }

    fn send(&self, send: Box<AttemptRequest>) {
        let sender = Arc::clone(&self.sender);
        let metrics = Arc::clone(&self.metrics);
        self.come_back(move |_| async move {
            let attempt = sender.attempt(&send).await;
            metrics.attempted(&attempt);
            log_attempt(&send, &attempt);
            Input::AttemptEnded { key: send.key, attempt: Box::new(attempt) }
        });
    }

    fn note(&self, notice: &Notice) {
        match notice {
            Notice::Suspended { webhook, reason } => tracing::warn!(
                webhook.id = %webhook,
                reason = reason.as_str(),
                "a webhook was suspended: its deliveries are held, and its endpoint is probed once an hour"
            ),
            Notice::Resumed { webhook } => {
                tracing::info!(webhook.id = %webhook, "a webhook's suspension ended");
            }
            Notice::Ended { webhook, delivery, state } => {
                self.metrics.ended(state);
                if let stackbell_model::delivery::State::Failed { reason, .. } = state {
                    tracing::warn!(
                        delivery.id = %delivery, webhook.id = %webhook, reason = reason.as_str(), "a delivery failed for good"
                    );
                }
            }
            Notice::SendingHeld { hold } => {
                self.metrics.held(true);
                tracing::warn!(
                    reason = &*hold.reason,
                    "sending is held until an operator resumes it; only pings and redeliveries are sent"
                );
            }
            Notice::SendingResumed => {
                self.metrics.held(false);
                tracing::info!("sending was resumed");
            }
            Notice::Superseded { webhook } => {
                tracing::info!(webhook.id = %webhook, "an outcome came too late to be recorded");
            }
            Notice::Unrecordable { webhook } => tracing::error!(
                webhook.id = %webhook,
                "an outcome can never be recorded, because a row is unreadable; its delivery will be sent again"
            ),
        }
    }
}

impl Waiting {
    fn publish(&mut self, publish: impl FnOnce(PublishTicket) -> Publish, reply: PublishReply) -> Input {
        self.next += 1;
        let ticket = PublishTicket(self.next);
        self.publishes.insert(ticket, reply);
        Input::Publish(publish(ticket))
    }

    fn on_demand(&mut self, request: OnDemand, reply: OnDemandReply) -> Input {
        self.next += 1;
        let ticket = OnDemandTicket(self.next);
        self.on_demand.insert(ticket, reply);
        Input::OnDemand { ticket, request }
    }
}

async fn sleep_until(clock: &dyn WaitingClock, at: Option<Timestamp>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn commit(
    store: Arc<dyn EngineStore>,
    commit_outage: Arc<CommitOutage>,
    metrics: Arc<Metrics>,
    number: CommitNumber,
    batch: Arc<Batch>,
) -> Input {
    let started = Instant::now();
    match store.commit(Arc::clone(&batch)).await {
        Ok(outcome) => {
            commit_outage.succeeded();
            metrics.committed(started.elapsed());
            count_accepted(&metrics, &batch, &outcome);
            Input::Committed { number, outcome }
        }
        Err(error) => {
            commit_outage.failed(&error);
            let fault = match error {
                StoreError::Full { .. } => CommitFault::Full,
                StoreError::Unknown { .. } => CommitFault::Unknown,
                StoreError::Corrupt { .. } => CommitFault::Corrupt,
                StoreError::Unavailable { .. } => CommitFault::Unavailable,
            };
            metrics.commit_failed(fault);
            Input::CommitFailed { number, fault }
        }
    }
}

fn count_accepted(metrics: &Metrics, batch: &Batch, outcome: &BatchOutcome) {
    for (item, outcome) in batch.intakes.iter().zip(&outcome.intakes) {
        let IntakeOutcome::Accepted(receipts) = outcome else { continue };
        let new = item.events.iter().zip(receipts).filter(|(_, receipt)| !receipt.duplicate);
        new.for_each(|(new, _)| metrics.accepted(new.event.kind));
    }
}

fn log(error: &StoreError, what: &'static str) {
    tracing::error!(error = %Chain(error), "{what}");
}

fn log_attempt(send: &AttemptRequest, attempt: &Attempt) {
    let status = attempt.outcome.status();
    let duration_ms = attempt.duration.as_millis();
    let (delivery, webhook) = (send.delivery.id, send.webhook.id);
    match (&attempt.outcome, attempt.outcome.verdict()) {
        (_, Verdict::Success) => {
            tracing::debug!(delivery.id = %delivery, webhook.id = %webhook, status, duration_ms, "delivered");
        }
        (Outcome::Answered(_) | Outcome::HiddenError(_), _) => tracing::info!(
            delivery.id = %delivery, webhook.id = %webhook, endpoint = %send.webhook.payload_url, status, duration_ms,
            "an attempt failed"
        ),
        (
            Outcome::Unanswered { text, .. } | Outcome::OurFault { text } | Outcome::Undeliverable { text },
            _,
        ) => tracing::info!(
            delivery.id = %delivery, webhook.id = %webhook, endpoint = %send.webhook.payload_url, text, duration_ms,
            "an attempt failed"
        ),
    }
}
