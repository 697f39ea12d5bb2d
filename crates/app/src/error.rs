use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Display;
use std::time::Duration;

use stackbell_engine::core::{OnDemandRefusal, PublishRefusal};
use stackbell_model::field::Problem;
use stackbell_payload::raw::PayloadError;
use stackbell_store::StoreError;
use stackbell_store::commit::QuotaPart;

/// What sort of failure it was. A closed set: whoever answers a request maps each to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request says something that it may not.
    Invalid,
    /// Nobody is known by this token.
    Unauthenticated,
    /// Whoever asks may see the organization, but not do this.
    Forbidden,
    /// There is no such thing, or whoever asks may not know of it (invariant 9).
    NotFound,
    /// The name or id is taken.
    Conflict,
    /// The organization has as much as it may.
    TooMany,
    /// The store or the queue cannot take it now.
    Unavailable,
    /// The store is full.
    Full,
    /// A defect of ours, or a store that cannot be read.
    Internal,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// It has to be there.
    Required,
    /// It may not say this.
    Invalid,
    /// It is taken.
    AlreadyExists,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire, or its path, as in `payload.organization.githubLogin`.
    pub field: Cow<'static, str>,
    /// The sort of problem.
    pub problem: FieldProblem,
    /// A sentence with the field's name and its rule.
    pub message: String,
}

impl FieldError {
    /// A field that breaks a `rule`, which begins with a verb.
    pub fn new(field: &'static str, problem: FieldProblem, rule: impl Display) -> Self {
        Self { field: field.into(), problem, message: format!("{field} {rule}") }
    }
}

/// Why something was not done. The message is for whoever asked; the cause is for the log alone.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What sort of failure.
    pub code: Code,
    /// What happened, in a sentence without a full stop.
    pub message: String,
    /// The fields that are wrong, if it is about fields.
    pub fields: Vec<FieldError>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without fields or cause.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new(), retry_after: None, cause: None }
    }

    /// Fields are wrong: the message names each with its rule.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let message = fields.iter().map(|field| field.message.as_str()).collect::<Vec<_>>().join("; ");
        Self { fields, ..Self::new(Code::Invalid, message) }
    }

    /// One field is wrong.
    pub fn invalid_field(field: &'static str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, FieldProblem::Invalid, message.into())])
    }

    /// There is no such thing.
    pub fn not_found(noun: &str, name: impl Display) -> Self {
        Self::new(Code::NotFound, format!("{noun} '{name}' not found"))
    }

    /// Puts the event's index, from 0, before each field: the event is one of several.
    #[must_use]
    pub fn of_event(self, index: usize) -> Self {
        let at = |text: &str| format!("[{index}].{text}");
        let fields = self.fields.iter().map(|error| FieldError {
            field: at(&error.field).into(),
            problem: error.problem,
            message: at(&error.message),
        });
        Self { fields: fields.collect(), message: at(&self.message), ..self }
    }

    fn try_again(code: Code, message: &str, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(code, message) }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let mut mapped = match &error {
            StoreError::Unavailable { .. } | StoreError::Unknown { .. } => Self::try_again(
                Code::Unavailable,
                "the store cannot be reached, try again",
                Duration::from_secs(5),
            ),
            StoreError::Full { .. } => Self::try_again(
                Code::Full,
                "the store has no room left, try again later",
                Duration::from_secs(30),
            ),
            StoreError::Corrupt { .. } => Self::new(Code::Internal, "the store could not be read"),
        };
        mapped.cause = Some(Box::new(error));
        mapped
    }
}

impl From<PayloadError> for Error {
    fn from(error: PayloadError) -> Self {
        let problem = match &error {
            PayloadError::Field(field) => match field.problem() {
                Problem::Missing => FieldProblem::Required,
                Problem::Invalid(_) => FieldProblem::Invalid,
            },
            PayloadError::Kind(_) | PayloadError::Json(_) | PayloadError::TooLarge { .. } => {
                FieldProblem::Invalid
            }
        };
        let message = error.to_string();
        let field = FieldError { field: error.path().into(), problem, message: message.clone() };
        Self { fields: vec![field], ..Self::new(Code::Invalid, message) }
    }
}

impl From<PublishRefusal> for Error {
    fn from(refusal: PublishRefusal) -> Self {
        match refusal {
            PublishRefusal::Conflict { index } => Self {
                fields: vec![FieldError::new(
                    "id",
                    FieldProblem::AlreadyExists,
                    "belongs to an event with other content",
                )],
                ..Self::new(
                    Code::Conflict,
                    format!("the id of event {index} belongs to an event with other content"),
                )
            },
            PublishRefusal::TooManyDeliveries { deliveries, max } => Self::new(
                Code::Invalid,
                format!(
                    "the events come to {deliveries} deliveries, and at once they may come to {max}: send fewer events in one array"
                ),
            ),
            PublishRefusal::ChangeRefused => {
                Self::new(Code::Conflict, "the state has changed meanwhile, read it again")
            }
            PublishRefusal::OverQuota(part) | PublishRefusal::EventsDropped(part) => over_quota(part),
            PublishRefusal::NoOrganization => Self::new(Code::NotFound, "the organization is gone"),
            PublishRefusal::Outdated => Self::try_again(
                Code::Unavailable,
                "the organization is being edited all the time, try again",
                Duration::from_secs(1),
            ),
            PublishRefusal::Overloaded => Self::try_again(
                Code::Unavailable,
                "too many events wait to be stored, try again",
                Duration::from_secs(1),
            ),
            PublishRefusal::Unavailable => Self::try_again(
                Code::Unavailable,
                "the store cannot be reached, try again",
                Duration::from_secs(5),
            ),
            PublishRefusal::Full => Self::try_again(
                Code::Full,
                "the store has no room left, try again later",
                Duration::from_secs(30),
            ),
        }
    }
}

/// What an organization keeps goes down by deliveries and by retention, neither of which is quick.
const OVER_QUOTA_RETRY_AFTER: Duration = Duration::from_secs(60);

fn over_quota(part: QuotaPart) -> Error {
    let message = match part {
        QuotaPart::Pending => {
            "the organization would have more pending deliveries than it may (the setting pending_deliveries_max), try again \
             when some of them have been delivered"
        }
        QuotaPart::StoredBytes => {
            "the organization keeps as many bytes as it may (the setting stored_bytes_max), try again when some of them have \
             gone"
        }
    };
    Error::try_again(Code::TooMany, message, OVER_QUOTA_RETRY_AFTER)
}

impl From<OnDemandRefusal> for Error {
    fn from(refusal: OnDemandRefusal) -> Self {
        match refusal {
            OnDemandRefusal::Overloaded => Self::try_again(
                Code::Unavailable,
                "too many pings and redeliveries wait already, try again",
                Duration::from_secs(5),
            ),
            OnDemandRefusal::Unavailable => Self::try_again(
                Code::Unavailable,
                "the outcome could not be stored, try again",
                Duration::from_secs(5),
            ),
            OnDemandRefusal::Changed => Self::try_again(
                Code::Unavailable,
                "the webhook was changed meanwhile, try again",
                Duration::from_secs(1),
            ),
            OnDemandRefusal::Gone => {
                Self::new(Code::NotFound, "the webhook or delivery was deleted meanwhile")
            }
        }
    }
}
