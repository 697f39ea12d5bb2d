//! Text of a payload that is put into markup.

use stackbell_model::hidden;

/// The text on one line: runs of white space and control characters become one space, and [`hidden`] characters are left out.
/// Hidden characters can make one text look like another, for example by reversing the reading direction.
pub(crate) fn one_line(text: &str) -> String {
    hidden::remove(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The limit of a text's length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// The maximum cost of the escaped text, including the mark of a cut.
    pub(crate) cost_max: usize,
    /// The cost of an escaped piece, in the unit that the service counts.
    pub(crate) cost: fn(&str) -> usize,
}

/// The mark of a cut.
const CUT: &str = "…";

/// Escaped text that is built piece by piece. If it exceeds the limit, it is cut between two pieces and ends with `…`.
#[derive(Debug)]
pub(crate) struct Written {
    out: String,
    cost: usize,
    /// The last position at which `out` may be cut: the mark of a cut fits there, and the character before it is visible. A cut
    /// after a joiner or a tag would leave half a sequence.
    safe: usize,
    limit: Limit,
}

impl Written {
    /// An empty text.
    pub(crate) fn new(limit: Limit) -> Self {
        debug_assert!((limit.cost)(CUT) <= limit.cost_max, "room for the mark");
        Self { out: String::new(), cost: 0, safe: 0, limit }
    }

    /// Adds a piece. Returns `false` if the piece did not fit: the text is cut then, and the caller adds nothing more.
    pub(crate) fn push(&mut self, piece: &str) -> bool {
        let cost = self.cost + (self.limit.cost)(piece);
        if cost > self.limit.cost_max {
            self.out.truncate(self.safe);
            self.out.push_str(CUT);
            return false;
        }
        self.out.push_str(piece);
        self.cost = cost;
        if cost + (self.limit.cost)(CUT) <= self.limit.cost_max && !piece.ends_with(hidden::is_invisible) {
            self.safe = self.out.len();
        }
        true
    }

    /// The text so far.
    pub(crate) fn into_text(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("  a\r\n\tb\u{0}\u{2028}c \u{a0}"), "a b c");
        assert_eq!(one_line("ev\u{202e}lin\u{2066}e"), "evline");
        assert_eq!(
            one_line("\u{feff}ad\u{200b}m\u{200d}i\u{ad}n\u{2060} \u{200b} x\u{9b}y\u{85}\u{200f}"),
            "admin x y"
        );
        assert_eq!(one_line("\u{200b}\u{3164}\u{2066}"), "");
        assert_eq!(one_line(" \n "), "");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "",
            "plain",
            "Grüße 🔔",
            "ops — prod",
            "東京",
            "葛\u{e0100}城",
            "한국어",
            "עברית",
            "e\u{301}",
            "👩\u{200d}💻",
            "❤\u{fe0f}\u{200d}🔥",
            "👨\u{200d}👩\u{200d}👧",
            "👍🏽",
            "1\u{fe0f}\u{20e3}",
            "🏳\u{fe0f}\u{200d}🌈",
            "می\u{200c}خواهم",
            "क\u{94d}\u{200d}ष",
            "ක්\u{200d}ර",
            "ᠠ\u{180b}",
            "©\u{fe0e}",
            "🇩🇪",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
        ] {
            assert_eq!(one_line(text), text);
            assert_eq!(
                one_line(&format!("\n{text} \u{200b} {text}\u{202e}")),
                format!("{text} {text}").trim()
            );
        }
    }

    #[test]
    fn a_cut_is_between_pieces_and_within_the_limit() {
        let check = |pieces: &[&str], expected: &str| {
            let mut written = Written::new(Limit { cost_max: 6, cost: |piece| piece.chars().count() });
            let fits = pieces.iter().all(|piece| written.push(piece));
            let text = written.into_text();
            assert_eq!(text, expected);
            assert_eq!(fits, !text.ends_with('…'));
        };
        check(&["a", "b", "&gt;"], "ab&gt;");
        check(&["a", "b", "&gt;", "c"], "ab…");
        check(&["a", "&gt;", "b", "c"], "a&gt;…");
        check(&["1", "2", "3", "4", "5", "6"], "123456");
        check(&["1", "2", "3", "4", "5", "6", "7"], "12345…");
        check(&["much too long"], "…");
        check(&["1", "2", "👩", "\u{200d}", "💻"], "12👩\u{200d}💻");
        check(&["1", "2", "3", "👩", "\u{200d}", "💻", "4"], "123👩…");
        check(&["❤", "\u{fe0f}", "\u{200d}", "🔥", "\u{200d}", "🔥", "1"], "❤\u{fe0f}\u{200d}🔥…");
    }
}
