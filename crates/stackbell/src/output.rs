//! What verbs print: tables for people, JSON for programs.

use std::io::{self, Write};

use serde_json::Value;

/// How verbs answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: what the server answered.
    Json,
}

/// A column: its title, and where its text is in an item, as a JSON pointer.
pub(crate) type Column = (&'static str, &'static str);

/// Two spaces between columns.
const GAP: &str = "  ";

impl Output {
    /// Prints a list.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn list(self, to: &mut dyn Write, items: &[Value], columns: &[Column]) -> io::Result<()> {
        match self {
            Self::Json => json(to, &Value::Array(items.to_vec())),
            Self::Table => table(to, items, columns),
        }
    }

    /// Prints one thing: as JSON, or as `sentence` says it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn one(self, to: &mut dyn Write, item: &Value, sentence: &str) -> io::Result<()> {
        match self {
            Self::Json => json(to, item),
            Self::Table => writeln!(to, "{sentence}"),
        }
    }
}

fn json(to: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(to, "{value:#}")
}

fn table(to: &mut dyn Write, items: &[Value], columns: &[Column]) -> io::Result<()> {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles)
        .chain(
            items.iter().map(|item| columns.iter().map(|(_, pointer)| text(item.pointer(pointer))).collect()),
        )
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(to, "{}", cells.join(GAP).trim_end())?;
    }
    Ok(())
}

/// A value as a cell. Control characters of what people named things could move a terminal's cursor.
fn text(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => other.to_string(),
    };
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_as_wide_as_they_must() {
        let items = [json!({"name": "acme", "user": {"on": true}}), json!({"name": "a\u{1b}[2Jlonger"})];
        let mut printed = Vec::new();
        let columns = [("NAME", "/name"), ("ON", "/user/on")];
        Output::Table.list(&mut printed, &items, &columns).expect("written");
        let expected = "NAME        ON\nacme        yes\na[2Jlonger  -\n";
        assert_eq!(String::from_utf8(printed).expect("text"), expected);
    }
}
