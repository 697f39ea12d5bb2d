//! The endpoints: the requests that they received, and their responses.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use stackbell_engine::core::AttemptRequest;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome, Response, Silence};
use stackbell_model::ids::{EventId, WebhookId};
use stackbell_model::webhook::{Format, Pace};

use crate::operations::{Behaviour, RequestFate};

/// A delivery, by webhook and event.
pub(crate) type Key = (WebhookId, EventId);

/// The time limit of a request.
pub(crate) const EXCHANGE_TIME: Duration = Duration::from_secs(15);

/// Whether the engine made the attempt by itself.
pub(crate) fn is_by_itself(trigger: AttemptTrigger) -> bool {
    matches!(trigger, AttemptTrigger::Schedule | AttemptTrigger::Probe)
}

/// A request that left a node.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub trigger: AttemptTrigger,
    pub payload: Bytes,
    /// The step at which it was sent. Steps order everything that happens, because clocks may be set back.
    pub sent_step: u64,
    /// When it was sent, by the node's clock.
    pub started_at: Timestamp,
    /// The step of the lease under which it was sent. A rearming after this step is not affected by the outcome.
    pub leased_step: u64,
    /// The life of the node that sent it.
    pub life: u32,
    /// When it was sent, by the time that has passed at the node.
    pub elapsed: Duration,
    /// The number of attempts that the delivery had spent.
    pub spent: u32,
    /// The rate limit and format of its webhook at that time, and how often the rate limit had been set.
    pub pace: (Option<Pace>, Format, usize),
    /// The revision of its webhook at that time.
    pub revision: u64,
    /// The number of nodes that its node saw at that time, and how often that had changed.
    pub view: (usize, u32),
    /// The step at which the node got the outcome, and whether another attempt may follow.
    pub ended: Option<(u64, bool)>,
    /// Whether the endpoint received and accepted it.
    pub accepted: bool,
    /// The step at which the node got a 2xx.
    pub seen: Option<u64>,
    /// Whether the store was given the outcome, and whether it recorded it.
    pub told: Option<bool>,
}

/// Whether deliveries are sent one at a time, in the order of events.
pub(crate) fn keeps_order(pace: Option<Pace>, format: Format) -> bool {
    let is_slow = pace.is_some_and(|pace| pace.interval() >= Duration::from_millis(500));
    is_slow || matches!(format, Format::Slack | Format::MsTeams)
}

#[derive(Default)]
pub(crate) struct Endpoints {
    behaviours: HashMap<WebhookId, Behaviour>,
    step: u64,
    /// The revisions of each webhook at which its rate limit was set.
    pub paces_set: HashMap<WebhookId, Vec<u64>>,
    pub log: HashMap<Key, Vec<Sent>>,
}

impl Endpoints {
    pub(crate) fn set(&mut self, webhook: WebhookId, behaviour: Behaviour) {
        self.behaviours.insert(webhook, behaviour);
    }

    pub(crate) fn all_accept(&mut self) {
        self.behaviours.clear();
    }

    /// The number of the next step.
    pub(crate) fn next_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// How often the rate limit of a webhook had been set up to this revision.
    pub(crate) fn paces_set(&self, webhook: WebhookId, revision: u64) -> usize {
        let set = self.paces_set.get(&webhook).map_or(&[][..], Vec::as_slice);
        set.iter().filter(|at| **at <= revision).count()
    }

    /// Records a request, and returns its place in the log.
    pub(crate) fn leaves(&mut self, key: Key, sent: Sent) -> usize {
        let log = self.log.entry(key).or_default();
        log.push(sent);
        log.len() - 1
    }

    /// Returns the attempt that results from a request's fate and the endpoint's behaviour.
    pub(crate) fn answers(
        &mut self,
        send: &AttemptRequest,
        place: usize,
        fate: RequestFate,
        now: Timestamp,
    ) -> Attempt {
        let behaviour = self.behaviours.get(&send.webhook.id).copied().unwrap_or(Behaviour::Accepts);
        let log = self.log.get_mut(&(send.webhook.id, send.delivery.event_id)).expect("it left");
        let arrived = matches!(fate, RequestFate::Answered | RequestFate::AnswerLost);
        log[place].accepted = arrived && behaviour == Behaviour::Accepts;
        let answer = |status, retry_after| {
            Outcome::Answered(Response { status, headers: "".into(), body: "".into(), retry_after })
        };
        let outcome = match (fate, behaviour) {
            (RequestFate::RequestLost | RequestFate::AnswerLost, _) => {
                Outcome::Unanswered { silence: Silence::TimedOut, text: "lost".into() }
            }
            (RequestFate::OurFault, _) => Outcome::OurFault { text: "ours".into() },
            (RequestFate::Answered, Behaviour::Accepts) => answer(200, None),
            (RequestFate::Answered, Behaviour::Refuses) => answer(500, None),
            (RequestFate::Answered, Behaviour::AsksToWait) => answer(429, Some(Duration::from_secs(90))),
            (RequestFate::Answered, Behaviour::Gone) => answer(410, None),
        };
        Attempt {
            trigger: send.trigger,
            started_at: send.started_at,
            duration: now.since(send.started_at).min(EXCHANGE_TIME),
            request_url: send.webhook.payload_url.expose().into(),
            request_headers: "".into(),
            outcome,
        }
    }

    /// Finds the request of an attempt that the store has not recorded yet. Two requests with equal times are taken in turn.
    pub(crate) fn untold(&mut self, key: Key, life: u32, attempt: &Attempt) -> Option<&mut Sent> {
        let is_it = |sent: &&mut Sent| {
            sent.life == life && sent.started_at == attempt.started_at && sent.trigger == attempt.trigger
        };
        let same = self.log.get_mut(&key)?.iter_mut().filter(is_it);
        same.filter(|sent| sent.told != Some(true)).min_by_key(|sent| sent.told)
    }
}
