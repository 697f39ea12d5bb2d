//! Strings, with only the escapes that JSON requires.

use std::ops::Range;

use super::{JsonError, JsonFault, Rewriter};

/// Writes `text` as a JSON string, quotes included, in canonical form.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        out.push_str(&rest[..at]);
        write_character(char::from(rest.as_bytes()[at]), out);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

fn write_character(character: char, out: &mut String) {
    let short = match character {
        '"' => '"',
        '\\' => '\\',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        control if control < ' ' => {
            out.push_str(if control < '\u{10}' { "\\u000" } else { "\\u001" });
            out.extend(char::from_digit(u32::from(control) & 0xf, 16));
            return;
        }
        other => {
            out.push(other);
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

impl Rewriter<'_> {
    /// Reads a string. Returns the position of its output between the quotes.
    pub(super) fn string(&mut self) -> Result<Range<usize>, JsonError> {
        let source = self.source;
        self.position += 1;
        self.out.push('"');
        let start = self.out.len();
        loop {
            let rest = &source.as_bytes()[self.position..];
            let run =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(rest.len());
            self.out.push_str(&source[self.position..self.position + run]);
            self.position += run;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(control) => return Err(self.fault(JsonFault::Control(char::from(control)))),
                None => return Err(self.unexpected("'\"'")),
            }
        }
        let end = self.out.len();
        self.position += 1;
        self.out.push('"');
        Ok(start..end)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let letter = self.source.as_bytes().get(self.position + 1).copied();
        let character = match letter {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            Some(_) | None => return Err(self.fault(JsonFault::Escape)),
        };
        write_character(character, &mut self.out);
        self.position += 2;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        let first = self.code_unit(self.position).ok_or_else(|| self.fault(JsonFault::Escape))?;
        // The second half is optional here, because `decode_utf16` reports a missing one.
        let second = if matches!(first, 0xd800..=0xdbff) { self.code_unit(self.position + 6) } else { None };
        let decoded = char::decode_utf16([first].into_iter().chain(second)).next();
        let Some(Ok(character)) = decoded else {
            return Err(self.fault(JsonFault::LoneSurrogate));
        };
        write_character(character, &mut self.out);
        self.position += 6 * character.len_utf16();
        Ok(())
    }

    /// The number in the `\uXXXX` at `position`, if there is one.
    fn code_unit(&self, position: usize) -> Option<u16> {
        let digits = self.source.as_bytes().get(position..position + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).ok()?)
        })
    }
}
