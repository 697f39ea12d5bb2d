//! The content of a chat message, independent of the service.
//!
//! `extract` makes one [`Message`] from an event; `slack` and `ms_teams` render it. A message has these parts:
//!
//! - fixed words (headlines, names of facts, context), without markup
//! - words of the payload ([`Text`], [`Message::subject`]), untrusted until a renderer has escaped them: none may become a link,
//!   a mention or formatting
//! - links, each admitted by [`Link`]
//!
//! Source of the messages' content: wire-facts.md#formats.

mod extract;
mod link;
mod text;

pub(super) use extract::message;
pub(super) use link::Link;
#[cfg(test)]
pub(super) use link::URL_BYTES_MAX;
pub(super) use text::{Limit, Written, one_line};

use stackbell_model::Timestamp;

/// A message about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The result, shown as colour and icon.
    pub(super) status: Status,
    /// The type of the subject: `Stack` or `Environment`, which may have equal names.
    pub(super) noun: &'static str,
    /// The subject, as in `organization/project/stack`.
    pub(super) subject: String,
    /// The event in fixed words without markup, as in `update succeeded`.
    pub(super) headline: &'static str,
    /// A page with more about the event.
    pub(super) link: Option<Link>,
    /// The payload's explanation, if it has one.
    pub(super) detail: Option<String>,
    /// Further rows, the most important first.
    pub(super) facts: Vec<Fact>,
    /// The filters that select the event, as in `update succeeded`; its kind if none does. Fixed words without markup.
    pub(super) reason: String,
    /// The time at which the event was accepted. A message may be sent much later, but its bytes are rendered now, so it always
    /// shows this time.
    pub(super) accepted_at: Timestamp,
}

/// A result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Success.
    Succeeded,
    /// Failure.
    Failed,
    /// Still running.
    Running,
    /// Forbidden by a policy.
    Forbidden,
    /// Needs attention: an advisory policy, drift.
    Warning,
    /// Neither good nor bad.
    Neutral,
}

/// A row of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// Its name: fixed words without markup.
    pub(super) name: &'static str,
    /// Its value.
    pub(super) text: Text,
}

/// The payload's words, on one line, not escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// For reading.
    Prose(String),
    /// For copying: an address, a type.
    Code(String),
}
