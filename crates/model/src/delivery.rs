//! A delivery: one event (or ping) for one webhook, over all its attempts.
//!
//! ```text
//!            accepted ──> pending ──2xx───────────────> succeeded
//!                          │  ^ └──webhook deleted,
//!                          │  │    or asked for ─────> cancelled ──> pending (retried or recovered while kept,
//!                 attempt  │  │ retry, probe                          unless its webhook was deleted)
//!                          └──┘ ──no attempts left,
//!                                 too old, cannot ───> failed ─────> pending (likewise)
//! ```
//!
//! A pending delivery is due at a moment; whether it is *held* follows from its webhook and is stored nowhere else.

use std::time::Duration;

use bytes::Bytes;

use crate::Timestamp;
use crate::filter::EventKind;
use crate::ids::{DeliveryId, EventId, EventKey, OrganizationId, WebhookId};
use crate::teams::TeamsError;
use crate::webhook::Format;

/// Why a delivery exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// An event matched.
    Event {
        /// The event's row, which holds the payload.
        key: EventKey,
        /// The event's kind.
        kind: EventKind,
    },
    /// Somebody asked for a ping.
    Ping,
}

impl Trigger {
    /// The kind on the wire: the event's, or `ping`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event { kind, .. } => kind.as_str(),
            Self::Ping => "ping",
        }
    }
}

/// Why a delivery ended without success. Every one is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The last attempt of the schedule failed.
    AttemptsExhausted,
    /// It grew too old to be sent.
    Expired,
    /// It can never be sent, as the attempt's text says.
    Undeliverable,
    /// The attempt failed, and another one might start the same run twice.
    NotRepeatable,
}

impl FailReason {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::AttemptsExhausted, Self::Expired, Self::Undeliverable, Self::NotRepeatable];

    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Expired => "expired",
            Self::Undeliverable => "undeliverable",
            Self::NotRepeatable => "not_repeatable",
        }
    }

    /// Reads that word; `None` when there is no such reason.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// Why a delivery was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its webhook was deleted. It stays cancelled.
    WebhookDeleted,
    /// Somebody asked for it.
    Asked,
}

impl CancelReason {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::WebhookDeleted, Self::Asked];

    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebhookDeleted => "webhook_deleted",
            Self::Asked => "asked",
        }
    }

    /// Reads that word; `None` when there is no such reason.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// A [`State`] without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// See [`State::Pending`].
    Pending,
    /// See [`State::Succeeded`].
    Succeeded,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Cancelled`].
    Cancelled,
}

impl StateKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads that word; `None` when there is no such state.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// Where a delivery stands (invariant 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet done; to be attempted at `due_at`, unless its webhook is held.
    Pending {
        /// When the next attempt may start.
        due_at: Timestamp,
    },
    /// Answered 2xx.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// Given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: FailReason,
    },
    /// Nobody wants it any more.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why.
        reason: CancelReason,
        /// Who cancelled it or deleted the webhook: a login or a service token's name.
        by: Box<str>,
    },
}

impl State {
    /// Which state this is.
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Pending { .. } => StateKind::Pending,
            Self::Succeeded { .. } => StateKind::Succeeded,
            Self::Failed { .. } => StateKind::Failed,
            Self::Cancelled { .. } => StateKind::Cancelled,
        }
    }

    /// The word for it in stores and answers.
    pub const fn as_str(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// A delivery's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// Why it exists.
    pub trigger: Trigger,
    /// The id on the wire: the event's, or the ping's own.
    pub event_id: EventId,
    /// How its bytes were rendered.
    pub format: Format,
    /// Its own bytes; `None` where it sends the event's payload as it is.
    pub body: Option<Bytes>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When somebody last had it tried anew after it had ended: its schedule and its age count from then.
    pub rearmed_at: Option<Timestamp>,
    /// Scheduled attempts that the endpoint has used up since. Redeliveries, probes and our own faults do not count.
    pub attempts_spent: u32,
    /// Where it stands.
    pub state: State,
}

impl Delivery {
    /// From when its schedule and its age count.
    pub fn armed_at(&self) -> Timestamp {
        self.rearmed_at.unwrap_or(self.created_at)
    }
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptTrigger {
    /// The delivery was due.
    Schedule,
    /// The webhook is suspended, and this asks whether its endpoint is back.
    Probe,
    /// Somebody asked for the delivery again.
    Redeliver,
    /// Somebody asked for a ping.
    Ping,
}

impl AttemptTrigger {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Schedule, Self::Probe, Self::Redeliver, Self::Ping];

    /// Whether nobody asked for it: it counts against the schedule and the endpoint.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Schedule | Self::Probe)
    }

    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Probe => "probe",
            Self::Redeliver => "redeliver",
            Self::Ping => "ping",
        }
    }

    /// Reads that word; `None` when there is no such trigger.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trigger| trigger.as_str() == text)
    }
}

/// Why an endpoint gave no answer. The text beside it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The outbound policy forbids its address.
    Forbidden,
    /// Its name could not be resolved.
    Unresolved,
    /// No connection, TLS included.
    Unreachable,
    /// The whole exchange took too long.
    TimedOut,
    /// The connection ended before a whole answer, or what came was not HTTP.
    Broken,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered. The status line decides: 2xx is success, all else failure.
    Answered(Answer),
    /// The endpoint answered 2xx, and its body says that the service behind it took nothing, mostly because it was asked
    /// too often: [`TeamsError`] tells. The endpoint's failure. Source: wire-facts.md#microsoft-teams.
    HiddenError(Answer),
    /// The request may have left, and no answer came. The endpoint's failure.
    Unanswered {
        /// Why, for programs.
        silence: Silence,
        /// Why, for people. Never more of the URL than scheme and host.
        text: Box<str>,
    },
    /// We could not build or finish the request. Nobody's attempt is spent; it is tried again soon.
    OurFault {
        /// Why, for people.
        text: Box<str>,
    },
    /// This delivery can never be sent.
    Undeliverable {
        /// Why, for people.
        text: Box<str>,
    },
}

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Name: value` lines sorted by name, each ended by CRLF.
    pub headers: Box<str>,
    /// The body's beginning, as far as it is kept, read as UTF-8 with losses.
    pub body: Box<str>,
    /// How long the endpoint asks us to wait, counted from the answer.
    pub retry_after: Option<Duration>,
}

/// What an outcome says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Success,
    /// The endpoint failed.
    Failure,
    /// 410: it wants no more.
    Gone,
    /// Nothing: it was not asked, or the fault was ours.
    None,
}

impl Outcome {
    /// What this says about the endpoint.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Answered(Answer { status: 200..=299, .. }) => Verdict::Success,
            Self::Answered(Answer { status: 410, .. }) => Verdict::Gone,
            Self::Answered(_) | Self::HiddenError(_) | Self::Unanswered { .. } => Verdict::Failure,
            Self::OurFault { .. } | Self::Undeliverable { .. } => Verdict::None,
        }
    }

    /// The status code, 0 without an answer. Source: wire-facts.md#webhook-delivery.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => answer.status,
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => 0,
        }
    }

    /// The error that the endpoint hid behind a 2xx.
    pub fn hidden_error(&self) -> Option<TeamsError> {
        match self {
            Self::HiddenError(answer) => {
                Some(TeamsError::find(&answer.body).unwrap_or(TeamsError { status: None }))
            }
            Self::Answered(_)
            | Self::Unanswered { .. }
            | Self::OurFault { .. }
            | Self::Undeliverable { .. } => None,
        }
    }

    /// The reason for people: why there was no answer, or the error that the endpoint hid behind a 2xx. `None` where the status
    /// says it all.
    pub fn reason(&self) -> Option<Box<str>> {
        match self {
            Self::Answered(_) => None,
            Self::HiddenError(answer) => Some(TeamsError::reason_in(&answer.body)),
            Self::Unanswered { text, .. } | Self::OurFault { text } | Self::Undeliverable { text } => {
                Some(text.clone())
            }
        }
    }

    /// Whether the endpoint takes no more for now: status 429, also one that is hidden behind a 2xx.
    pub fn is_throttled(&self) -> bool {
        const TOO_MANY_REQUESTS: u16 = 429;
        let hidden = self.hidden_error().and_then(|error| error.status);
        hidden.unwrap_or(self.status()) == TOO_MANY_REQUESTS
    }

    /// Whether the endpoint said, in whatever way, that it will never take this delivery.
    pub fn is_refused_for_good(&self) -> bool {
        self.hidden_error().is_some_and(TeamsError::is_for_good)
    }

    /// The answer, if one came.
    pub const fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => Some(answer),
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => None,
        }
    }

    /// The same, to be changed.
    pub const fn answer_mut(&mut self) -> Option<&mut Answer> {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => Some(answer),
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => None,
        }
    }
}

/// One HTTP request of a delivery, and what became of it. `Debug` hides the URL and the request's headers, which have
/// signatures (invariant 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Why it was made.
    pub trigger: AttemptTrigger,
    /// When it began.
    pub started_at: Timestamp,
    /// From its beginning to the last byte, or to giving up; milliseconds are kept.
    pub duration: Duration,
    /// The URL that was called, whole. A credential: see [`crate::webhook::PayloadUrl`].
    pub request_url: Box<str>,
    /// What was sent, as `Name: value` lines sorted by name, each ended by CRLF.
    pub request_headers: Box<str>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Attempt {
    /// When it ended, by the clock that says when it began.
    pub fn ended_at(&self) -> Timestamp {
        self.started_at.after(self.duration)
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Attempt");
        shown
            .field("trigger", &self.trigger)
            .field("started_at", &self.started_at)
            .field("duration", &self.duration);
        shown.field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
