//! The output of commands: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use serde_json::Value;
use stackbell_model::hidden;
use stackbell_system::printable;

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: the server's response.
    Json,
}

/// The spaces between columns.
const GAP: u16 = 2;

/// Longer words may be broken on a narrow terminal.
const WORD_MAX: u16 = 40;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    cell: Cell,
}

/// The content of a column's cells.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// The value at this JSON pointer. It is wrapped on a narrow terminal.
    Text(&'static str),
    /// A value that is never wrapped, because people copy it.
    Id(&'static str),
    /// A time, to the second.
    Time(&'static str),
    /// The text that the function makes of the item.
    Made(fn(&Value) -> String),
}

impl Column {
    /// The value at a JSON pointer.
    pub const fn text(title: &'static str, pointer: &'static str) -> Self {
        Self { title, cell: Cell::Text(pointer) }
    }

    /// The value at a JSON pointer, which stays on one line.
    pub const fn id(title: &'static str, pointer: &'static str) -> Self {
        Self { title, cell: Cell::Id(pointer) }
    }

    /// The time at a JSON pointer, to the second.
    pub const fn time(title: &'static str, pointer: &'static str) -> Self {
        Self { title, cell: Cell::Time(pointer) }
    }

    /// The text that `make` makes of an item.
    pub const fn made(title: &'static str, make: fn(&Value) -> String) -> Self {
        Self { title, cell: Cell::Made(make) }
    }

    fn of(&self, item: &Value) -> String {
        match self.cell {
            Cell::Text(pointer) | Cell::Id(pointer) => text(item.pointer(pointer)),
            Cell::Time(pointer) => seconds(&text(item.pointer(pointer))),
            Cell::Made(make) => printable(&make(item)).into_owned(),
        }
    }

    fn wraps(&self) -> bool {
        matches!(self.cell, Cell::Text(_) | Cell::Made(_))
    }
}

impl Output {
    /// Prints a list.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn list(self, to: &mut dyn Write, items: &[Value], columns: &[Column]) -> io::Result<()> {
        match self {
            Self::Json => json(to, &Value::Array(items.to_vec())),
            Self::Table => table(to, items, columns, terminal_width()),
        }
    }

    /// Prints one item: as JSON for programs, or `sentence` for people.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn one(self, to: &mut dyn Write, item: &Value, sentence: &str) -> io::Result<()> {
        match self {
            Self::Json => json(to, item),
            Self::Table => writeln!(to, "{sentence}"),
        }
    }
}

/// Prints JSON. Hidden characters are written as escapes such as `\u009b`, which parse as the same text.
fn json(to: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(to, "{}", hidden::escape_json(&format!("{value:#}")))
}

/// The width of the terminal on standard output; `None` if it is not a terminal, because lines then have no limit.
fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0)
}

fn table(to: &mut dyn Write, items: &[Value], columns: &[Column], width: Option<u16>) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| columns.iter().map(|column| column.of(item)).collect()).collect();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().map(|column| column.title));
    table.set_content_arrangement(match width {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some(width) = width {
        table.set_width(width);
    }
    table.add_rows(&rows);
    for (index, column) in columns.iter().enumerate() {
        // A table without rows has no columns.
        let Some(made) = table.column_mut(index) else { continue };
        // The last column needs no gap.
        let gap = if index + 1 == columns.len() { 0 } else { GAP };
        made.set_padding((0, gap));
        made.set_constraint(if column.wraps() {
            let cells = rows.iter().map(|row| row[index].as_str());
            let longest = cells.chain([column.title]).map(longest_word).max().unwrap_or_default();
            ColumnConstraint::LowerBoundary(Width::Fixed(longest + gap))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    for line in table.to_string().lines() {
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The length of the longest word of a text. Text that wraps only between words stays readable.
fn longest_word(text: &str) -> u16 {
    let longest = text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default();
    u16::try_from(longest).unwrap_or(u16::MAX).min(WORD_MAX)
}

/// Whether to print in colours: on a terminal, unless `NO_COLOR` is set.
#[expect(clippy::disallowed_methods, reason = "a convention of terminals, and no setting of ours")]
pub(crate) fn is_coloured(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A value as a cell.
pub(crate) fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => printable(text).into_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| text(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

/// A time in RFC 3339, UTC, to the second. Any other text stays as it is.
pub fn seconds(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => format!("{moment:.0}"),
        Err(_) => printable(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] = &[
        Column::id("NAME", "/name"),
        Column::text("ON", "/user/on"),
        Column::time("AT", "/at"),
        Column::made("TWICE", |item| text(item.get("name")).repeat(2)),
    ];

    fn check(items: &[Value], columns: &[Column], width: Option<u16>, expected: &str) {
        let mut printed = Vec::new();
        table(&mut printed, items, columns, width).expect("written");
        assert_eq!(String::from_utf8(printed).expect("text"), expected);
    }

    #[test]
    fn tables_are_as_wide_as_they_must() {
        let items = [
            json!({"name": "acme", "user": {"on": true}, "at": "2026-05-13T06:19:04.070Z"}),
            json!({"name": "a\u{9b}2Jb"}),
        ];
        let expected = "NAME        ON   AT                    TWICE\n\
                        acme        yes  2026-05-13T06:19:04Z  acmeacme\n\
                        a\\u{9b}2Jb  -    -                     a\\u{9b}2Jba\\u{9b}2Jb\n";
        check(&items, COLUMNS, None, expected);
    }

    #[test]
    fn a_narrow_terminal_wraps_words_and_no_ids() {
        let items = [json!({"name": "0123456789-0123456789", "user": {"on": "several words of text"}})];
        let expected = "NAME                   ON\n\
                        0123456789-0123456789  several\n                       words of\n                       text\n";
        check(&items, &COLUMNS[..2], Some(32), expected);
    }

    #[test]
    fn json_is_printable_and_says_the_same() {
        let value = json!({"a\u{9b}": ["\u{7f}\u{80}\u{9f}", "\u{202e}\u{200b}\u{2028}", "\u{1b}\n", "Grüße 👩\u{200d}💻"]});
        let mut printed = Vec::new();
        json(&mut printed, &value).expect("written");
        let printed = String::from_utf8(printed).expect("text");
        assert!(printed.contains("\\u009b") && printed.contains("\\u007f\\u0080\\u009f"), "{printed}");
        assert_eq!(hidden::escape(&printed, &['\n']), printed, "nothing hidden is printed");
        assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), value);
    }

    #[test]
    fn lists_of_words_are_cells() {
        assert_eq!(text(Some(&json!(["a", "b"]))), "a, b");
        assert_eq!(text(Some(&json!([]))), "-");
    }
}
