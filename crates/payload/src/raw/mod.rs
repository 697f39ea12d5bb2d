//! The rules for a producer's payload: check, fill in, classify, limit, digest.
//!
//! [`read_event`] applies all of them. It guarantees:
//!
//! - `payload` is canonical JSON (see [`super::json`]) within the operator's limit, with `organization`, with the names of a
//!   stack or an environment, and with the fields that classify its kind
//! - every documented field has its documented type; all other fields pass unchanged
//! - a documented field that is null counts as absent and is left out
//!
//! Sources: wire-facts.md#raw-payloads for fields, wire-facts.md#kinds-filters-groups for the classification.

mod classify;
mod fill;
mod schema;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use stackbell_model::filter::{EventKind, FilterSet};
use stackbell_model::identity::{Organization, User};
use stackbell_model::scope::Subject;

use super::json::{CanonicalObject, JsonError};
use stackbell_model::field::{FieldError, list, quote};

/// The facts that are filled in.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The organization that the event was sent to.
    pub organization: Party<'a>,
    /// The user whose token it was sent with; `None` for a service token.
    pub user: Option<Party<'a>>,
}

/// A user or an organization, as payloads show them.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// The name for people: `name`.
    pub name: &'a str,
    /// The name in URLs: `githubLogin`.
    pub login: &'a str,
    /// A picture, or empty: `avatarUrl`.
    pub avatar_url: &'a str,
}

impl<'a> From<&'a Organization> for Party<'a> {
    fn from(organization: &'a Organization) -> Self {
        Self {
            name: organization.display_name.as_str(),
            login: organization.name.as_str(),
            avatar_url: &organization.avatar_url,
        }
    }
}

impl<'a> From<&'a User> for Party<'a> {
    fn from(user: &'a User) -> Self {
        Self { name: user.name.as_str(), login: user.login.as_str(), avatar_url: &user.avatar_url }
    }
}

/// A payload that follows the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Its kind.
    pub kind: EventKind,
    /// Every filter that selects it; may be empty.
    pub filters: FilterSet,
    /// Its stack or environment.
    pub subject: Subject,
    /// The bytes that are stored and sent.
    pub payload: Bytes,
    sent: Bytes,
}

impl Classified {
    /// SHA-256 over the kind, a zero byte and the canonical payload as the producer sent it. Filled-in facts are not included, so
    /// that an event has the same digest if another user sends it again.
    pub fn digest(&self) -> [u8; 32] {
        let digest =
            Sha256::new().chain_update(self.kind.as_str()).chain_update([0]).chain_update(&self.sent);
        digest.finalize().into()
    }
}

/// The reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not a kind of event. `ping` is refused too: pings are not published.
    #[error("kind must be one of {allowed}, not '{0}'", allowed = list(EventKind::ALL.iter().map(|kind| kind.as_str())))]
    Kind(String),
    /// Not JSON, or JSON that cannot be forwarded.
    #[error("payload: {0}")]
    Json(JsonError),
    /// A field is missing or wrong.
    #[error(transparent)]
    Field(FieldError),
    /// Too long after filling in.
    #[error(
        "payload must be at most {bytes_max} bytes long with user and organization filled in, is {bytes} (the setting \
         payload_bytes_max)"
    )]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
}

impl PayloadError {
    /// The path of the wrong field: `kind`, `payload` or one within it, as in `payload.organization.githubLogin`.
    pub fn path(&self) -> String {
        match self {
            Self::Kind(_) => "kind".to_owned(),
            Self::Json(error) if !error.path().is_empty() => format!("payload.{}", error.path()),
            Self::Json(_) | Self::TooLarge { .. } => "payload".to_owned(),
            Self::Field(error) => error.path().to_owned(),
        }
    }
}

/// Applies the rules to a kind and a payload as a producer sent them. The result's payload has at most `bytes_max` bytes.
///
/// `organization`, its `githubLogin` and `user` are filled in from `filling` where they are absent: `user` becomes the
/// first member, `organization` the one after it, `githubLogin` the last of its object.
///
/// # Errors
/// [`PayloadError`], naming the field and its rule. An `organization.githubLogin` that differs from `filling` is an error,
/// too.
pub fn read_event(
    kind_text: &str,
    payload: &str,
    filling: &Filling<'_>,
    bytes_max: usize,
) -> Result<Classified, PayloadError> {
    let kind = EventKind::parse(kind_text).ok_or_else(|| PayloadError::Kind(quote(kind_text)))?;
    let sent = CanonicalObject::read(payload, bytes_max).map_err(PayloadError::Json)?;
    let in_payload = |error: FieldError| PayloadError::Field(error.inside("payload"));
    let schema = schema::of(kind);
    schema::check(&sent, schema).map_err(in_payload)?;
    fill::check_organization(&sent, filling).map_err(in_payload)?;
    let subject = classify::subject(&sent, schema.about).map_err(in_payload)?;
    let filters = classify::filters(&sent, kind);
    let filled = fill::fill(&sent, schema, filling);
    let sent = Bytes::from(sent.into_text());
    let payload = filled.map_or_else(|| sent.clone(), Bytes::from);
    if payload.len() > bytes_max {
        return Err(PayloadError::TooLarge { bytes: payload.len(), bytes_max });
    }
    Ok(Classified { kind, filters, subject, payload, sent })
}

#[cfg(test)]
mod tests;
