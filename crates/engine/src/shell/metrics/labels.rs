//! The labels of the metrics, and all values of each label.
//!
//! All values are known, so every series exists from the start, at 0. Prometheus sees no increase in a counter that first
//! appears with the value 1, so an alert would miss the first refusal.

use std::fmt::{self, Write as _};
use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stackbell_model::delivery::{Attempt, Outcome, StateKind, Verdict};
use stackbell_model::filter::EventKind;
use stackbell_model::teams::TeamsError;
use stackbell_model::wait::WaitReason;
use stackbell_store::commit::QuotaPart;

use crate::core::{CommitFault, PublishRefusal};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EventLabels {
    pub(super) kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AttemptLabels {
    pub(super) result: AttemptResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DeliveryLabels {
    pub(super) state: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WaitLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BreakerLabels {
    pub(super) cause: BreakerCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FaultLabels {
    pub(super) fault: Fault,
}

macro_rules! label_values {
    ($(#[$about:meta])* $name:ident { $($variant:ident => $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum $name { $($variant,)+ }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

label_values! {
    /// Why a publish was refused.
    Reason {
        Conflict => "conflict",
        NoOrganization => "no_organization",
        ChangeRefused => "change_refused",
        QuotaPending => "quota_pending",
        QuotaStoredBytes => "quota_stored_bytes",
        Overloaded => "overloaded",
        Unavailable => "unavailable",
        Full => "full",
        TooManyDeliveries => "too_many_deliveries",
    }
}

label_values! {
    /// The result of an attempt.
    AttemptResult {
        Success => "success",
        Status => "status",
        Throttled => "throttled",
        Silence => "silence",
        OurFault => "our_fault",
        Undeliverable => "undeliverable",
    }
}

label_values! {
    /// Why a circuit breaker is open.
    BreakerCause {
        Failures => "failures",
        OurFault => "our_fault",
    }
}

label_values! {
    /// Why a commit failed.
    Fault {
        Unavailable => "unavailable",
        Full => "full",
        Unknown => "unknown",
        Corrupt => "corrupt",
    }
}

impl Reason {
    /// Why a publish was refused; `None` if the refusal is internal and not counted.
    pub(super) fn of(refusal: PublishRefusal) -> Option<Self> {
        Some(match refusal {
            PublishRefusal::Conflict { .. } => Self::Conflict,
            PublishRefusal::NoOrganization => Self::NoOrganization,
            PublishRefusal::OverQuota(QuotaPart::Pending) => Self::QuotaPending,
            PublishRefusal::OverQuota(QuotaPart::StoredBytes) => Self::QuotaStoredBytes,
            PublishRefusal::ChangeRefused => Self::ChangeRefused,
            PublishRefusal::Overloaded => Self::Overloaded,
            // `Outdated` publishes are retried and counted then. Dropped events are counted by the event.
            PublishRefusal::Outdated | PublishRefusal::EventsDropped(_) => return None,
            PublishRefusal::Unavailable => Self::Unavailable,
            PublishRefusal::Full => Self::Full,
            PublishRefusal::TooManyDeliveries { .. } => Self::TooManyDeliveries,
        })
    }
}

impl From<&Attempt> for AttemptResult {
    fn from(attempt: &Attempt) -> Self {
        match &attempt.outcome {
            Outcome::Answered(_) if attempt.outcome.verdict() == Verdict::Success => Self::Success,
            Outcome::Answered(_) => Self::Status,
            Outcome::HiddenError(_) => match attempt.outcome.hidden_error() {
                Some(TeamsError { status: Some(429) }) => Self::Throttled,
                Some(_) | None => Self::Status,
            },
            Outcome::Unanswered { .. } => Self::Silence,
            Outcome::OurFault { .. } => Self::OurFault,
            Outcome::Undeliverable { .. } => Self::Undeliverable,
        }
    }
}

impl From<CommitFault> for Fault {
    fn from(fault: CommitFault) -> Self {
        match fault {
            CommitFault::Unavailable => Self::Unavailable,
            CommitFault::Full => Self::Full,
            CommitFault::Unknown => Self::Unknown,
            CommitFault::Corrupt => Self::Corrupt,
        }
    }
}

pub(super) fn events() -> Family<EventLabels, Counter> {
    at_zero(EventKind::ALL.iter().map(|kind| EventLabels { kind: kind.as_str() }))
}

pub(super) fn refusals() -> Family<RefusalLabels, Counter> {
    at_zero(Reason::ALL.iter().map(|reason| RefusalLabels { reason: *reason }))
}

pub(super) fn attempts() -> Family<AttemptLabels, Counter> {
    at_zero(AttemptResult::ALL.iter().map(|result| AttemptLabels { result: *result }))
}

/// Deliveries end in any state except pending.
pub(super) fn deliveries() -> Family<DeliveryLabels, Counter> {
    let ends = StateKind::ALL.iter().filter(|state| **state != StateKind::Pending);
    at_zero(ends.map(|state| DeliveryLabels { state: state.as_str() }))
}

pub(super) fn waits() -> Family<WaitLabels, Gauge> {
    at_zero(WaitReason::ALL.iter().map(|reason| WaitLabels { reason: reason.as_str() }))
}

pub(super) fn breakers() -> Family<BreakerLabels, Gauge> {
    at_zero(BreakerCause::ALL.iter().map(|cause| BreakerLabels { cause: *cause }))
}

pub(super) fn faults() -> Family<FaultLabels, Counter> {
    at_zero(Fault::ALL.iter().map(|fault| FaultLabels { fault: *fault }))
}

fn at_zero<L: Clone + Eq + Hash, M: Default>(labels: impl Iterator<Item = L>) -> Family<L, M> {
    let family = Family::<L, M>::default();
    labels.for_each(|labels| drop(family.get_or_create(&labels)));
    family
}
