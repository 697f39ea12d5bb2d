//! Sources of events, and changes of state that commit together with events.

use crate::ids::SourceId;

/// The maximum length of a cursor in bytes.
pub const CURSOR_BYTES_MAX: usize = 4096;

/// The position of a source: all events before it are accepted. Only the source interprets the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCursor(Box<str>);

impl SourceCursor {
    /// Creates a cursor from a text of 1 to [`CURSOR_BYTES_MAX`] bytes without the character U+0000, which PostgreSQL cannot
    /// store. `None` for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = (1..=CURSOR_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
        is_valid.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A change of state that commits together with events, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Moves a source's cursor: a compare-and-set.
    AdvanceCursor {
        /// The source, which belongs to the organization of the events.
        source: SourceId,
        /// The expected cursor; `None` if the source must not have one yet.
        from: Option<SourceCursor>,
        /// The new cursor.
        to: SourceCursor,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_valid: bool) {
        assert_eq!(SourceCursor::parse(text).is_some(), is_valid, "{} bytes", text.len());
    }

    #[test]
    fn cursors_are_short_texts() {
        check("history/1796050635623640943", true);
        check(&"x".repeat(CURSOR_BYTES_MAX), true);
        check(&"x".repeat(CURSOR_BYTES_MAX + 1), false);
        check("", false);
        check("a\0b", false);
    }
}
