//! What a chat message says, whatever the service that shows it.
//!
//! `extract` makes one [`Message`] of an event; `slack` and `ms_teams` write it down. The cast:
//!
//! - what is ours (headlines, names of facts, context) is plain words without markup, fixed here
//! - what is the payload's ([`Text`], [`Message::subject`]) is hostile until a writer has escaped it: nothing in it may
//!   become a link, a mention or formatting
//! - links are only those that [`Link`] lets through
//!
//! Source of what the messages show: wire-facts.md#formats.

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
    /// How it went: the colour, and the icon.
    pub(super) status: Status,
    /// What the subject is: `Stack` or `Environment`, which may have the same names.
    pub(super) noun: &'static str,
    /// What it is about, as in `organization/project/stack`.
    pub(super) subject: String,
    /// What happened, as in `update succeeded`: ours, and free of markup.
    pub(super) headline: &'static str,
    /// Where to read more.
    pub(super) link: Option<Link>,
    /// The sentence that says why, if the payload has one.
    pub(super) detail: Option<String>,
    /// What else there is to know, the most important first.
    pub(super) facts: Vec<Fact>,
    /// The filters that select the event in plain words, as in `update succeeded`; its kind where there is none.
    /// Ours, and free of markup.
    pub(super) reason: String,
    /// When the event was accepted. A message may be sent much later, and its bytes are fixed by then, so it always says
    /// when its event was.
    pub(super) accepted_at: Timestamp,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// As it should.
    Succeeded,
    /// Not as it should.
    Failed,
    /// It has not ended.
    Running,
    /// A policy forbade it.
    Forbidden,
    /// Somebody should look: an advisory policy, drift.
    Warning,
    /// Neither good nor bad.
    Neutral,
}

/// A row of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// What it tells: ours, and free of markup.
    pub(super) name: &'static str,
    /// What it is.
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
