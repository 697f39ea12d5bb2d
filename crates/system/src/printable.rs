//! Makes text from other sources safe for a terminal.
//!
//! A text from a server, an endpoint or an argument may contain characters that move the cursor, change colours or reverse the
//! reading direction. [`printable`] and [`Visible`] spell such characters out.

use std::borrow::Cow;
use std::io::{self, Write};

use stackbell_model::hidden;

/// A text on one line, with its hidden characters spelt out.
pub fn printable(text: &str) -> Cow<'_, str> {
    hidden::escape(text, &[])
}

/// A text of several lines, with all other hidden characters spelt out.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    hidden::escape(text, &['\n', '\t'])
}

/// Prints a message on standard error; standard output is for results.
pub fn note(text: &str) {
    // If standard error is gone, there is no other place for the message.
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// Writes text with its hidden characters spelt out. Each write must hold whole characters, as those of `write!` do.
pub struct Visible<W>(
    /// The inner writer.
    pub W,
);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(printable_lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_text_is_visible() {
        let mut written = Vec::new();
        let mut visible = Visible(&mut written);
        let reversed = "\u{202e}\u{9b}é";
        writeln!(visible, "a\u{1b}[31m{reversed}\tb").expect("written");
        visible.write_all(&[b'x', 0xff]).expect("written");
        let expected = "a\\u{1b}[31m\\u{202e}\\u{9b}é\tb\nx\u{fffd}";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
        assert_eq!(printable("a\nb\u{7f}"), "a\\u{a}b\\u{7f}");
    }
}
