//! An event: one immutable fact about a stack or an environment.

use bytes::Bytes;

use crate::Timestamp;
use crate::filter::{EventKind, FilterSet};
use crate::ids::{EventId, EventKey, OrganizationId, TokenId};
use crate::scope::Subject;

/// The maximum size of an event's payload, as compact JSON.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The maximum number of events that are accepted or rejected together.
pub const EVENTS_IN_ITEM_MAX: usize = 1000;

/// The origin of an event. The engine treats all origins alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The events API.
    Api,
}

impl Source {
    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        (text == "api").then_some(Self::Api)
    }
}

/// An event that is ready for intake: it is classified, and its payload holds the bytes that will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its row.
    pub key: EventKey,
    /// Its public id.
    pub id: EventId,
    /// Its organization.
    pub organization: OrganizationId,
    /// The kind of its payload.
    pub kind: EventKind,
    /// Every filter that selects it. Empty if only webhooks without filters receive it.
    pub filters: FilterSet,
    /// The stack or environment that it is about.
    pub subject: Subject,
    /// Compact JSON, at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
    /// Digest of kind and payload as the producer sent them, compact. Present only if the producer chose the
    /// id.
    /// A repeated id with an equal digest is a duplicate of the event.
    pub digest: Option<[u8; 32]>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its origin.
    pub source: Source,
    /// The token it was published with, if any.
    pub token: Option<TokenId>,
}
