use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Display;
use std::time::Duration;

use stackbell_engine::core::{OnDemandRefusal, PublishRefusal};
use stackbell_model::field::Problem;
use stackbell_payload::raw::PayloadError;
use stackbell_store::StoreError;
use stackbell_store::commit::QuotaPart;

/// The kind of a failure. The set is closed: a surface maps each code to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request is invalid.
    Invalid,
    /// The token is not valid.
    Unauthenticated,
    /// The caller may see the organization, but not do this.
    Forbidden,
    /// The thing does not exist, or the caller may not learn whether it does (invariant 9).
    NotFound,
    /// The name or id is taken.
    Conflict,
    /// The organization has reached a limit.
    TooMany,
    /// The store or the queue cannot take the request now.
    Unavailable,
    /// The store is full.
    Full,
    /// A defect of the server, or a store that cannot be read.
    Internal,
}

/// The kind of a problem with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// The field is required.
    Required,
    /// The value is not allowed.
    Invalid,
    /// The value is taken.
    AlreadyExists,
}

/// A problem with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire, or its path, as in `payload.organization.githubLogin`.
    pub field: Cow<'static, str>,
    /// The kind of the problem.
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

/// The reason why an operation failed. The message is for the caller; the cause is only for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind of the failure.
    pub code: Code,
    /// A sentence without a full stop.
    pub message: String,
    /// The problems with fields, if there are any.
    pub fields: Vec<FieldError>,
    /// The time to wait before another try; `None` if another try would fail, too.
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

    /// An error for invalid fields. The message names each field with its rule.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let message = fields.iter().map(|field| field.message.as_str()).collect::<Vec<_>>().join("; ");
        Self { fields, ..Self::new(Code::Invalid, message) }
    }

    /// An error for one invalid field.
    pub fn invalid_field(field: &'static str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, FieldProblem::Invalid, message.into())])
    }

    /// An error for a thing that does not exist.
    pub fn not_found(noun: &str, name: impl Display) -> Self {
        Self::new(Code::NotFound, format!("{noun} '{name}' not found"))
    }

    /// This error with the index of its event before each field. The event is one of several; indexes count from 0.
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
                    "the events would make {deliveries} deliveries, and one request may make at most {max}: send fewer events in one array"
                ),
            ),
            PublishRefusal::ChangeRefused => {
                Self::new(Code::Conflict, "the state has changed meanwhile, read it again")
            }
            PublishRefusal::OverQuota(part) | PublishRefusal::EventsDropped(part) => over_quota(part),
            PublishRefusal::NoOrganization => Self::new(Code::NotFound, "the organization is gone"),
            PublishRefusal::Outdated => Self::try_again(
                Code::Unavailable,
                "the organization was edited at the same time, try again",
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

/// The usage of an organization falls with deliveries and with retention, and both take time.
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
