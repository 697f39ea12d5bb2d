//! The other side: what endpoints got, and what they answer.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use stackbell_engine::core::Send;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Answer, Attempt, AttemptTrigger, Outcome, Silence};
use stackbell_model::ids::{EventId, WebhookId};
use stackbell_model::retry::is_repeatable;
use stackbell_model::webhook::{Format, Pace};

use crate::operations::{Behaviour, RequestFate};

/// Whether nobody asked for an attempt.
pub(crate) fn is_by_itself(trigger: AttemptTrigger) -> bool {
    matches!(trigger, AttemptTrigger::Schedule | AttemptTrigger::Probe)
}

/// A request that left the node.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub trigger: AttemptTrigger,
    pub payload: Bytes,
    /// Its place among all that happened; the clock may be set back.
    pub sent_step: u64,
    /// When the lease runs out under which it was sent.
    pub lease_until: Timestamp,
    /// The place of that lease. What begins anew after it does so whatever comes of this.
    pub leased_step: u64,
    /// Which life of the node sent it.
    pub life: u32,
    /// When it left, by the time that has gone by.
    pub elapsed: Duration,
    /// What its webhook was paced to then, and how often that had been set.
    pub pace: (Option<Pace>, Format, usize),
    /// In which life of the node it ended, and its place among all that happened; with whether another may follow.
    pub ended: Option<(u32, u64, bool)>,
    /// Whether the endpoint got it and accepted it.
    pub accepted: bool,
    /// In which life of the node a 2xx came back, and its place among all that happened.
    pub seen: Option<(u32, u64)>,
}

#[derive(Default)]
pub(crate) struct Endpoints {
    behaviours: HashMap<WebhookId, Behaviour>,
    step: u64,
    /// Deliveries that the store leased to the node without the node ever hearing of it: their earlier leases are lost.
    pub lost_leases: HashSet<(WebhookId, EventId)>,
    /// The revisions of webhooks with which somebody set their pace.
    pub paces_set: HashMap<WebhookId, Vec<u64>>,
    pub log: HashMap<(WebhookId, EventId), Vec<Sent>>,
}

impl Endpoints {
    pub(crate) fn set(&mut self, webhook: WebhookId, behaviour: Behaviour) {
        self.behaviours.insert(webhook, behaviour);
    }

    pub(crate) fn all_accept(&mut self) {
        self.behaviours.clear();
    }

    /// The place of something else that happens, among all.
    pub(crate) fn next_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// Notes that a request leaves; gives its place in the log.
    pub(crate) fn leaves(
        &mut self,
        send: &Send,
        life: u32,
        (lease_until, leased_step): (Timestamp, u64),
        elapsed: Duration,
    ) -> usize {
        self.step += 1;
        let paces_set = self.paces_set.get(&send.webhook.id).map_or(&[][..], Vec::as_slice);
        let pace_set = paces_set.iter().filter(|revision| **revision <= send.webhook.revision).count();
        let log = self.log.entry((send.webhook.id, send.delivery.event_id)).or_default();
        log.push(Sent {
            trigger: send.trigger,
            payload: send.payload.clone(),
            sent_step: self.step,
            lease_until,
            leased_step,
            life,
            elapsed,
            pace: (send.webhook.pace, send.webhook.format, pace_set),
            ended: None,
            accepted: false,
            seen: None,
        });
        log.len() - 1
    }

    /// Ends a request that is under way.
    pub(crate) fn ends(
        &mut self,
        send: &Send,
        place: usize,
        fate: RequestFate,
        life: u32,
        now: Timestamp,
    ) -> Attempt {
        self.step += 1;
        let behaviour = self.behaviours.get(&send.webhook.id).copied().unwrap_or(Behaviour::Accepts);
        let log = self.log.get_mut(&(send.webhook.id, send.delivery.event_id)).expect("it left");
        let sent = &mut log[place];
        sent.accepted = behaviour == Behaviour::Accepts && !matches!(fate, RequestFate::RequestLost);
        let answer = |status, retry_after| {
            Outcome::Answered(Answer { status, headers: "".into(), body: "".into(), retry_after })
        };
        let outcome = match (fate, behaviour) {
            (RequestFate::RequestLost | RequestFate::AnswerLost, _) => {
                Outcome::Unanswered { silence: Silence::TimedOut, text: "lost".into() }
            }
            (RequestFate::Answered, Behaviour::Accepts) => {
                sent.seen = Some((life, self.step));
                answer(200, None)
            }
            (RequestFate::Answered, Behaviour::Refuses) => answer(500, None),
            (RequestFate::Answered, Behaviour::AsksToWait) => answer(429, Some(Duration::from_secs(90))),
            (RequestFate::Answered, Behaviour::Gone) => answer(410, None),
        };
        sent.ended = Some((life, self.step, is_repeatable(send.delivery.format, &outcome)));
        Attempt {
            trigger: send.trigger,
            started_at: send.started_at,
            duration: now.since(send.started_at).min(Duration::from_secs(15)),
            request_url: send.webhook.payload_url.expose().into(),
            request_headers: "".into(),
            outcome,
        }
    }
}
