//! Characters that are invisible and change how the text around them looks.
//!
//! Control characters move a terminal's cursor. Directional characters reverse the text around them.
//! Characters without a glyph make two names look alike. Names chosen by users may not contain any of them
//! ([`find`]). Text from outside is shown with hidden characters escaped ([`escape`]) or removed
//! ([`remove`]).
//!
//! Some characters without a glyph are part of ordinary text. They are allowed in these positions, unless the
//! character before them is hidden:
//!
//! - a zero-width joiner between two pictures of an emoji, as in a family
//! - a joiner or non-joiner after a letter of Arabic, Indic and other scripts whose letters join
//! - a variation selector after a symbol, ideograph or Mongolian letter
//! - the tag characters after the black flag that make the flag of England, Scotland or Wales
//!
//! Source of the characters: `Default_Ignorable_Code_Point` of <https://www.unicode.org/reports/tr44/>, with `Cc`, `Zl`, `Zp`
//! and the interlinear annotations. Source of joiners: <https://www.rfc-editor.org/rfc/rfc5892#appendix-A.1>. Source of flags:
//! `RGI_Emoji_Tag_Sequence` of <https://www.unicode.org/reports/tr51/>, which has these three.

use std::borrow::Cow;
use std::fmt::Write as _;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const EMOJI_SELECTOR: char = '\u{fe0f}';
const BLACK_FLAG: char = '\u{1f3f4}';

/// `gbeng`, `gbsct` and `gbwls` in tag characters, each with the terminating tag.
const FLAG_TAGS: &[&str] = &[
    "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

/// Returns the first hidden character of a text.
pub fn find(text: &str) -> Option<char> {
    positions(text).next().map(|(_, found)| found)
}

/// Escapes the hidden characters of a text as `\u{…}` in hexadecimal, except those in `kept`. `kept` is for
/// `\n` and `\t` in multi-line text.
pub fn escape<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    replace(text, kept, |escaped, found| escaped.extend(found.escape_unicode()))
}

/// Removes the hidden characters of a text. A control character becomes a space, because it may separate two
/// words.
pub fn remove(text: &str) -> Cow<'_, str> {
    replace(text, &[], |shown, found| shown.extend(found.is_control().then_some(' ')))
}

/// Escapes the hidden characters in the strings of a JSON text as JSON escapes, so its meaning stays the
/// same.
/// Line breaks and tabs between values stay.
pub fn escape_json(text: &str) -> Cow<'_, str> {
    replace(text, &['\n', '\r', '\t'], |escaped, found| {
        for unit in found.encode_utf16(&mut [0; 2]) {
            write!(escaped, "\\u{unit:04x}").expect("a string takes what it is given");
        }
    })
}

fn replace<'a>(text: &'a str, kept: &[char], spell: impl Fn(&mut String, char)) -> Cow<'a, str> {
    // Fast path: nearly all text is visible ASCII.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::new();
    let mut copied = 0;
    for (at, found) in positions(text).filter(|(_, found)| !kept.contains(found)) {
        replaced.push_str(&text[copied..at]);
        spell(&mut replaced, found);
        copied = at + found.len_utf8();
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// Returns true if a character is invisible in every context. Used for plain text such as URLs.
pub fn is_invisible(c: char) -> bool {
    is_control(c) || has_no_glyph(c)
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns the hidden characters and their byte positions.
fn positions(text: &str) -> impl Iterator<Item = (usize, char)> {
    // Also `None` after a hidden character: no character is allowed after one.
    let mut before = None;
    let mut flag_end = 0;
    text.char_indices().filter(move |(at, c)| {
        let after = &text[at + c.len_utf8()..];
        if *c == BLACK_FLAG {
            let tags = FLAG_TAGS.iter().find(|tags| after.starts_with(**tags));
            flag_end = tags.map_or(0, |tags| at + c.len_utf8() + tags.len());
        }
        let is_hidden = *at >= flag_end && is_hidden(*c, before, after.chars().next());
        before = (!is_hidden).then_some(*c);
        is_hidden
    })
}

fn is_hidden(c: char, before: Option<char>, after: Option<char>) -> bool {
    if is_control(c) {
        return true;
    }
    if !has_no_glyph(c) {
        return false;
    }
    let Some(before) = before else { return true };
    match c {
        JOINER => {
            let is_between = (is_symbol(before) || before == EMOJI_SELECTOR) && after.is_some_and(is_symbol);
            !is_between && !joins(before)
        }
        NON_JOINER => !joins(before),
        // Keycap emoji begin with a digit.
        '\u{fe00}'..='\u{fe0f}' => {
            !(is_symbol(before) || is_ideograph(before) || matches!(before, '0'..='9' | '#' | '*'))
        }
        '\u{e0100}'..='\u{e01ef}' => !is_ideograph(before),
        '\u{180b}'..='\u{180d}' | '\u{180f}' => !matches!(before, '\u{1820}'..='\u{18aa}'),
        _ => true,
    }
}

/// `Default_Ignorable_Code_Point`, Unicode 16.
fn has_no_glyph(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Blocks that contain emoji: letterlike signs, arrows to miscellaneous symbols, CJK signs, and the
/// pictographs.
fn is_symbol(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2100}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}'
            | '\u{3299}' | '\u{1f000}'..='\u{1fbff}'
    )
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Blocks of scripts with joining letters: Arabic to Arabic Extended-A, Devanagari to Sinhala, Tibetan and
/// Myanmar, Khmer, Mongolian, and the presentation forms of Arabic.
fn joins(c: char) -> bool {
    let is_in_block = matches!(
        c,
        '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{f00}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
            | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
    );
    is_in_block && !has_no_glyph(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_without_a_glyph_are_found() {
        let hidden = [
            '\0',
            '\t',
            '\n',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{80}',
            '\u{9b}',
            '\u{9f}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{e0041}',
            '\u{e0100}',
        ];
        for c in hidden {
            for text in [format!("a{c}b"), format!("{c}b"), format!("a{c}"), format!("é{c}日")] {
                assert_eq!(find(&text), Some(c), "{text:?}");
            }
        }
    }

    #[test]
    fn ordinary_text_has_no_hidden_characters() {
        for text in [
            "",
            "plain",
            "Grüße 🔔",
            "ops — prod",
            "東京",
            "葛\u{e0100}城",
            "한국어",
            "עברית",
            "a\u{a0}b",
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
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} ops",
            "a🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}🏴",
        ] {
            assert_eq!(find(text), None, "{text:?}");
            assert_eq!(escape(text, &[]), text);
            assert_eq!(remove(text), text);
        }
    }

    #[test]
    fn joiners_elsewhere_are_hidden() {
        for text in [
            "ad\u{200d}min",
            "\u{200d}💻",
            "💻\u{200d}",
            "💻\u{200d}a",
            "می\u{200c}\u{200c}خ",
            "a\u{fe0f}",
            "🔔\u{fe0f}\u{fe0f}",
            "a\u{fe0f}\u{200d}💻",
            "می\u{200b}\u{200c}خ",
            "🏴\u{e0067}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\u{e007f}",
            "🏴\u{e0075}\u{e0073}\u{e0074}\u{e0078}\u{e007f}",
            "🏳\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        ] {
            assert!(find(text).is_some(), "{text:?}");
            assert_eq!(find(&escape(text, &[])), None, "{text:?}");
            assert_eq!(find(&remove(text)), None, "{text:?}");
        }
    }

    #[test]
    fn hidden_characters_are_spelt_out() {
        let check = |text: &str, kept: &[char], expected: &str| assert_eq!(escape(text, kept), expected);
        check("a\u{1b}[2Jb\u{9b}c", &[], "a\\u{1b}[2Jb\\u{9b}c");
        check("line\n\ttab\r\n", &['\n', '\t'], "line\n\ttab\\u{d}\n");
        check("\u{202e}gnp.exe", &[], "\\u{202e}gnp.exe");
        check("ü\u{200b}", &[], "ü\\u{200b}");
        let json = "{\n  \"a\": \"\u{7f}\u{80}\u{9f}\u{202e}\u{e0041}é👩\u{200d}💻\"\n}";
        let expected = "{\n  \"a\": \"\\u007f\\u0080\\u009f\\u202e\\udb40\\udc41é👩\u{200d}💻\"\n}";
        assert_eq!(escape_json(json), expected);
    }

    #[test]
    fn hidden_characters_are_removed() {
        assert_eq!(remove("a\u{1b}[2Jb\r\n\u{9b}c"), "a [2Jb   c");
        assert_eq!(remove("\u{202e}gnp\u{200b}.e\u{200d}xe\u{e0041}"), "gnp.exe");
        assert_eq!(remove("a\u{fe0f}\u{200d}💻"), "a💻");
    }
}
