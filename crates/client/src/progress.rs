//! Progress on standard error: a bar on a terminal, and occasional lines elsewhere.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stackbell_system::note;

/// The bar of counted items.
const COUNT: &str = "{msg} {wide_bar} {pos}/{len}";
/// The bar of a known number of bytes.
const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
/// The bar of a stream of unknown length.
const STREAM: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

/// The most lines without a terminal. Each stands for an equal part of the whole.
const LINES_MAX: u64 = 10;

/// A progress bar, or its lines.
pub struct Progress {
    /// Draws nothing without a terminal.
    bar: ProgressBar,
    what: &'static str,
    lines: Option<Lines>,
}

/// The lines in place of a bar.
struct Lines {
    total: u64,
    said: Cell<Option<u64>>,
}

impl Progress {
    /// The progress of `total` items; `what` is their participle, such as `copied`.
    pub fn counted(what: &'static str, total: u64) -> Self {
        let lines = (!io::stderr().is_terminal()).then(|| Lines { total, said: Cell::new(None) });
        Self { bar: bar(Some(total), COUNT, what), what, lines }
    }

    /// The progress of a transfer of bytes, shown on a terminal only.
    pub fn bytes(what: &'static str, total: Option<u64>) -> Self {
        let template = if total.is_some() { BYTES } else { STREAM };
        Self { bar: bar(total, template, what), what, lines: None }
    }

    /// Reports that `done` items are done.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
        if let Some(lines) = &self.lines
            && lines.is_worth_a_line(done)
        {
            note(&format!("{done} of {} {}", lines.total, self.what));
        }
    }

    /// Counts the bytes that are read.
    pub fn wrap<'r>(&self, from: impl Read + 'r) -> impl Read + 'r {
        self.bar.wrap_read(from)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Later output must not follow a bar on the same line.
        self.bar.finish_and_clear();
    }
}

impl Lines {
    fn is_worth_a_line(&self, done: u64) -> bool {
        let part = |done: u64| done.saturating_mul(LINES_MAX) / self.total.max(1);
        let is_news = self.said.get().is_none_or(|said| part(done) > part(said));
        if is_news {
            self.said.set(Some(done));
        }
        is_news
    }
}

fn bar(total: Option<u64>, template: &str, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).expect("a constant that is a template"))
        .with_message(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few() {
        let lines = Lines { total: 1000, said: Cell::new(None) };
        let said: Vec<u64> = (0..=1000).filter(|done| lines.is_worth_a_line(*done)).collect();
        assert_eq!(said, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
        let none = Lines { total: 0, said: Cell::new(None) };
        assert!(none.is_worth_a_line(0) && !none.is_worth_a_line(0));
    }

    #[test]
    fn templates_are_templates() {
        for template in [COUNT, BYTES, STREAM] {
            bar(Some(1), template, "of bytes").finish_and_clear();
        }
    }

    #[test]
    fn read_bytes_stay_unchanged() {
        let mut read = String::new();
        let progress = Progress::bytes("sent", Some(4));
        progress.wrap(&b"text"[..]).read_to_string(&mut read).expect("read");
        assert_eq!((read.as_str(), progress.bar.position()), ("text", 4));
    }
}
