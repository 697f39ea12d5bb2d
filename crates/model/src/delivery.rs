//! A delivery: one event (or ping) for one webhook, over all its attempts.
//!
//! ```text
//!            accepted ──> pending ──2xx───────────────> succeeded
//!                          │  ^ └──webhook deleted,
//!                          │  │    or by a user ─────> cancelled ──> pending (retried or recovered before its removal,
//!                 attempt  │  │ retry, probe                          unless its webhook was deleted)
//!                          └──┘ ──no attempts left,
//!                                 too old, cannot ───> failed ─────> pending (likewise)
//! ```
//!
//! A pending delivery has a due time. Whether it is *held* follows from its webhook and is stored nowhere
//! else.

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
    /// A user requested a ping.
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

/// The reason why a delivery ended without success. Each one is shown to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The last attempt of the schedule failed.
    AttemptsExhausted,
    /// The delivery grew too old to be sent.
    Expired,
    /// The delivery can never be sent. The attempt's text gives the reason.
    Undeliverable,
    /// The attempt failed, and a retry might start the same run twice.
    NotRepeatable,
}

impl FailReason {
    /// All reasons.
    pub const ALL: &'static [Self] =
        &[Self::AttemptsExhausted, Self::Expired, Self::Undeliverable, Self::NotRepeatable];

    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Expired => "expired",
            Self::Undeliverable => "undeliverable",
            Self::NotRepeatable => "not_repeatable",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// Why a delivery was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its webhook was deleted. The delivery stays cancelled.
    WebhookDeleted,
    /// A user cancelled it.
    Asked,
}

impl CancelReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[Self::WebhookDeleted, Self::Asked];

    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebhookDeleted => "webhook_deleted",
            Self::Asked => "asked",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// A [`State`] without its data.
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
    /// All states.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// The state of a delivery (invariant 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not finished. The next attempt is at `due_at`, unless the webhook is held.
    Pending {
        /// When the next attempt may start.
        due_at: Timestamp,
    },
    /// The endpoint responded 2xx.
    Succeeded {
        /// The time of success.
        at: Timestamp,
    },
    /// No further attempts are made.
    Failed {
        /// The time of failure.
        at: Timestamp,
        /// The reason.
        reason: FailReason,
    },
    /// Cancelled by a user, or because the webhook was deleted.
    Cancelled {
        /// The time of cancellation.
        at: Timestamp,
        /// The reason.
        reason: CancelReason,
        /// The login or service token name of the actor that cancelled the delivery or deleted the webhook.
        by: Box<str>,
    },
}

impl State {
    /// Returns the kind of this state.
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Pending { .. } => StateKind::Pending,
            Self::Succeeded { .. } => StateKind::Succeeded,
            Self::Failed { .. } => StateKind::Failed,
            Self::Cancelled { .. } => StateKind::Cancelled,
        }
    }

    /// The text form for stores and responses.
    pub const fn as_str(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// A row of the deliveries table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// The reason why it exists.
    pub trigger: Trigger,
    /// The id on the wire: the event's id, or the ping's own id.
    pub event_id: EventId,
    /// The format in which its bytes were rendered.
    pub format: Format,
    /// Its own bytes; `None` if it sends the event's payload unchanged.
    pub body: Option<Bytes>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When a user last retried it after it had ended. Its schedule and its age count from this time.
    pub rearmed_at: Option<Timestamp>,
    /// Scheduled attempts spent since then. Redeliveries, probes and our own faults do not count.
    pub attempts_spent: u32,
    /// Its state.
    pub state: State,
}

impl Delivery {
    /// The time from which its schedule and its age count.
    pub fn armed_at(&self) -> Timestamp {
        self.rearmed_at.unwrap_or(self.created_at)
    }
}

/// The reason why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptTrigger {
    /// The delivery was due.
    Schedule,
    /// The webhook is suspended, and this attempt probes whether its endpoint has recovered.
    Probe,
    /// A user requested a redelivery.
    Redeliver,
    /// A user requested a ping.
    Ping,
}

impl AttemptTrigger {
    /// All triggers.
    pub const ALL: &'static [Self] = &[Self::Schedule, Self::Probe, Self::Redeliver, Self::Ping];

    /// Returns true if no user requested the attempt. Such an attempt counts against the schedule and the
    /// endpoint.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Schedule | Self::Probe)
    }

    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Probe => "probe",
            Self::Redeliver => "redeliver",
            Self::Ping => "ping",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trigger| trigger.as_str() == text)
    }
}

/// The reason why there was no response. The text beside it is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The outbound policy forbids the endpoint's address.
    Forbidden,
    /// The host name could not be resolved.
    Unresolved,
    /// No connection could be made, TLS included.
    Unreachable,
    /// The whole exchange timed out.
    TimedOut,
    /// The connection ended before the response was complete, or the response was not HTTP.
    Broken,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint responded. The status decides: 2xx is success, any other is failure.
    Answered(Response),
    /// The endpoint responded 2xx, but its body says that the service behind it rejected the message, mostly
    /// because of a rate limit. See [`TeamsError`]. Counts as the endpoint's failure. Source:
    /// wire-facts.md#microsoft-teams.
    HiddenError(Response),
    /// The request may have been sent, and no response came. Counts as the endpoint's failure.
    Unanswered {
        /// The reason, for programs.
        silence: Silence,
        /// The reason, for users. Contains no more of the URL than scheme and host.
        text: Box<str>,
    },
    /// We could not build or finish the request. It spends no attempt and is retried soon.
    OurFault {
        /// The reason, for users.
        text: Box<str>,
    },
    /// This delivery can never be sent.
    Undeliverable {
        /// The reason, for users.
        text: Box<str>,
    },
}

/// An endpoint's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Name: value` lines sorted by name, each ended by CRLF.
    pub headers: Box<str>,
    /// The part of the body that is kept, decoded as lossy UTF-8.
    pub body: Box<str>,
    /// The wait that the endpoint requests with `Retry-After`, counted from the response.
    pub retry_after: Option<Duration>,
}

/// The conclusion from an outcome about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Success,
    /// The endpoint failed.
    Failure,
    /// The endpoint responded 410 and wants no more deliveries.
    Gone,
    /// No conclusion: no request reached the endpoint, or the fault was ours.
    None,
}

impl Outcome {
    /// Returns the conclusion about the endpoint.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Answered(Response { status: 200..=299, .. }) => Verdict::Success,
            Self::Answered(Response { status: 410, .. }) => Verdict::Gone,
            Self::Answered(_) | Self::HiddenError(_) | Self::Unanswered { .. } => Verdict::Failure,
            Self::OurFault { .. } | Self::Undeliverable { .. } => Verdict::None,
        }
    }

    /// The status code; 0 without a response. Source: wire-facts.md#webhook-delivery.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => answer.status,
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => 0,
        }
    }

    /// The error that the endpoint reported in the body of a 2xx.
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

    /// The reason, for users: why there was no response, or the error in the body of a 2xx. `None` where the
    /// status is reason enough.
    pub fn reason(&self) -> Option<Box<str>> {
        match self {
            Self::Answered(_) => None,
            Self::HiddenError(answer) => Some(TeamsError::reason_in(&answer.body)),
            Self::Unanswered { text, .. } | Self::OurFault { text } | Self::Undeliverable { text } => {
                Some(text.clone())
            }
        }
    }

    /// Returns true if the endpoint is rate limiting: status 429, also in the body of a 2xx.
    pub fn is_throttled(&self) -> bool {
        const TOO_MANY_REQUESTS: u16 = 429;
        let hidden = self.hidden_error().and_then(|error| error.status);
        hidden.unwrap_or(self.status()) == TOO_MANY_REQUESTS
    }

    /// Returns true if the endpoint reported that it will never accept this delivery.
    pub fn is_refused_for_good(&self) -> bool {
        self.hidden_error().is_some_and(TeamsError::is_for_good)
    }

    /// The response, if there is one.
    pub const fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => Some(answer),
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => None,
        }
    }

    /// The response, mutable.
    pub const fn response_mut(&mut self) -> Option<&mut Response> {
        match self {
            Self::Answered(answer) | Self::HiddenError(answer) => Some(answer),
            Self::Unanswered { .. } | Self::OurFault { .. } | Self::Undeliverable { .. } => None,
        }
    }
}

/// One HTTP request of a delivery and its outcome. `Debug` hides the URL and the request headers, because the
/// headers contain signatures (invariant 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The reason why it was made.
    pub trigger: AttemptTrigger,
    /// When it started.
    pub started_at: Timestamp,
    /// The time from the start to the last byte, or to the timeout. Kept in milliseconds.
    pub duration: Duration,
    /// The full URL of the request. It is a credential: see [`crate::webhook::PayloadUrl`].
    pub request_url: Box<str>,
    /// The request headers, as `Name: value` lines sorted by name, each ended by CRLF.
    pub request_headers: Box<str>,
    /// Its outcome.
    pub outcome: Outcome,
}

impl Attempt {
    /// The end of the attempt: `started_at` plus `duration`.
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
