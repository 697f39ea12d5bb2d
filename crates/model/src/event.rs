//! An event: one immutable fact about a stack or an environment.

use bytes::Bytes;

use crate::Timestamp;
use crate::filter::{EventKind, FilterSet};
use crate::ids::{EventId, EventKey, OrganizationId, TokenId};
use crate::scope::Subject;

/// The most bytes of an event's payload, compact.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The most events that are accepted or refused as one.
pub const EVENTS_IN_ITEM_MAX: usize = 1000;

/// Where an event came from. The engine treats all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The events API.
    Api,
}

impl Source {
    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
        }
    }

    /// Reads that word; `None` when there is no such source.
    pub fn parse(text: &str) -> Option<Self> {
        (text == "api").then_some(Self::Api)
    }
}

/// An event, ready to be accepted: classified, its payload in the bytes that will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its row.
    pub key: EventKey,
    /// What everyone outside calls it.
    pub id: EventId,
    /// Its organization.
    pub organization: OrganizationId,
    /// What its payload is.
    pub kind: EventKind,
    /// Every filter that selects it; empty for one that only a webhook for everything hears.
    pub filters: FilterSet,
    /// What it is about.
    pub subject: Subject,
    /// Compact JSON, at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
    /// Digest of kind and payload as the producer sent them, compact; only where the producer chose the id.
    /// The same id with the same digest is the same event again.
    pub digest: Option<[u8; 32]>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Where it came from.
    pub source: Source,
    /// The token it was published with, if any.
    pub token: Option<TokenId>,
}
