//! Makes the rows of a message from a payload's fields. Rows without data are left out.

use std::borrow::Cow;

use super::super::{Fact, Text, one_line};
use crate::json::{CanonicalObject, Value};

/// The most items of a list in one row; `…` stands for the rest.
const ITEMS_MAX: usize = 8;

/// A payload; `None` if it is not a JSON object.
pub(super) struct Payload(Option<CanonicalObject>);

impl Payload {
    /// Reads a payload of any length; it was canonical when it was accepted.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok();
        Self(text.and_then(|text| CanonicalObject::read(text, usize::MAX).ok()))
    }

    fn get(&self, field: &str) -> Option<Value<'_>> {
        self.0.as_ref()?.get(field)
    }

    pub(super) fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        self.get(field)?.text()
    }

    /// A word of a fixed list; empty if it is absent.
    pub(super) fn word(&self, field: &str) -> &str {
        self.get(field).and_then(Value::escaped_text).unwrap_or_default()
    }

    pub(super) fn truth(&self, field: &str) -> Option<bool> {
        self.get(field)?.truth()
    }

    /// A text on one line; `None` if it is empty.
    pub(super) fn line(&self, field: &str) -> Option<String> {
        self.get(field).and_then(line)
    }

    pub(super) fn inner(&self, object: &str, field: &str) -> Option<Cow<'_, str>> {
        self.get(object)?.get(field)?.text()
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts { payload: self, facts: Vec::new() }
    }
}

/// Collects rows.
pub(super) struct Facts<'a> {
    payload: &'a Payload,
    facts: Vec<Fact>,
}

impl Facts<'_> {
    pub(super) fn end(self) -> Vec<Fact> {
        self.facts
    }

    fn add(mut self, name: &'static str, text: Option<Text>) -> Self {
        self.facts.extend(text.map(|text| Fact { name, text }));
        self
    }

    /// Adds a row with fixed words.
    pub(super) fn ours(self, name: &'static str, word: Option<&str>) -> Self {
        self.add(name, word.map(|word| Text::Prose(word.to_owned())))
    }

    pub(super) fn prose(self, name: &'static str, field: &str) -> Self {
        let text = self.payload.line(field).map(Text::Prose);
        self.add(name, text)
    }

    pub(super) fn code(self, name: &'static str, field: &str) -> Self {
        let text = self.payload.line(field).map(Text::Code);
        self.add(name, text)
    }

    pub(super) fn number(self, name: &'static str, field: &str) -> Self {
        let text = self.payload.get(field).and_then(digits).map(Text::Prose);
        self.add(name, text)
    }

    /// Adds one row with those of several fields that are present.
    pub(super) fn joined(self, name: &'static str, fields: [&str; 2], separator: &str) -> Self {
        let parts: Vec<_> = fields.iter().filter_map(|field| self.payload.line(field)).collect();
        let text = (!parts.is_empty()).then(|| Text::Prose(parts.join(separator)));
        self.add(name, text)
    }

    pub(super) fn operation(self, field: &str) -> Self {
        self.prose("Operation", field)
    }

    /// Adds the user who started it: `Morty Smith (morty)`, or the part of it that is known.
    pub(super) fn user(self) -> Self {
        let part = |field| self.payload.inner("user", field).map(|text| one_line(&text));
        let present = |field| part(field).filter(|text| !text.is_empty());
        let text = match (present("name"), present("githubLogin")) {
            (Some(name), Some(login)) if name != login => Some(format!("{name} ({login})")),
            (name, login) => login.or(name),
        };
        self.add("User", text.map(Text::Prose))
    }

    /// Adds the number of changed and of unchanged resources, and the operations if there were several.
    pub(super) fn resources(self) -> Self {
        let counts: Vec<(String, u64)> = self
            .payload
            .get("resourceChanges")
            .and_then(Value::members)
            .into_iter()
            .flatten()
            .map(count)
            .collect();
        let changed = counts.iter().filter(|(operation, _)| operation != "same");
        let total = changed.clone().fold(0_u64, |total, (_, count)| total.saturating_add(*count));
        let same = counts.iter().find(|(operation, _)| operation == "same").map(|(_, count)| *count);
        let told: Vec<_> = changed
            .filter(|(operation, count)| *count > 0 && !operation.is_empty())
            .map(|(operation, count)| format!("{operation} {count}"))
            .collect();
        let number = |number: u64| Text::Prose(number.to_string());
        self.add("Resources changed", (!counts.is_empty()).then(|| number(total)))
            .add("Resources unchanged", same.map(number))
            .add("Changes", (told.len() > 1).then(|| Text::Prose(list(told, ", "))))
    }

    /// Adds the environment that a change request is for, and its revisions.
    pub(super) fn imported(self) -> Self {
        let reference = self.payload.get("importedEnvironmentReference");
        let part = |field| reference.and_then(|reference| reference.get(field)).and_then(line);
        let names: Vec<_> = [part("projectName"), part("environmentName")].into_iter().flatten().collect();
        let revision = reference.and_then(|reference| reference.get("revision")).and_then(digits);
        let affected = self.payload.get("affectedRevisions").and_then(Value::items).into_iter().flatten();
        let affected: Vec<_> = affected.filter_map(digits).collect();
        self.add("Imported environment", (!names.is_empty()).then(|| Text::Prose(names.join("/"))))
            .add("Imported revision", revision.map(Text::Prose))
            .add("Affected revisions", (!affected.is_empty()).then(|| Text::Prose(list(affected, ", "))))
    }

    /// Adds the secrets that keep their old value, and the reason.
    pub(super) fn failed_rotations(self) -> Self {
        let rotations = self.payload.get("rotations").and_then(Value::items).into_iter().flatten();
        let failed = rotations.filter(|rotation| {
            rotation.get("status").and_then(Value::escaped_text).is_some_and(|status| status == "failed")
        });
        let told: Vec<_> = failed
            .filter_map(|rotation| {
                let name = rotation.get("environmentPath").or_else(|| rotation.get("id")).and_then(line)?;
                Some(match rotation.get("errorMessage").and_then(line) {
                    Some(error) => format!("{name}: {error}"),
                    None => name,
                })
            })
            .collect();
        self.add("Not rotated", (!told.is_empty()).then(|| Text::Prose(list(told, "; "))))
    }
}

/// The digits of a whole number, which may exceed all integer types.
fn digits(value: Value<'_>) -> Option<String> {
    value.is_whole().then(|| value.raw().to_owned())
}

fn line(value: Value<'_>) -> Option<String> {
    let line = one_line(&value.text()?);
    (!line.is_empty()).then_some(line)
}

/// An operation and its count. A count of more than 64 bits becomes the maximum.
fn count((operation, value): (&str, Value<'_>)) -> (String, u64) {
    (one_line(&unescape(operation)), value.whole().unwrap_or(u64::MAX))
}

/// A key without its escapes.
fn unescape(key: &str) -> Cow<'_, str> {
    if !key.contains('\\') {
        return Cow::Borrowed(key);
    }
    Cow::Owned(serde_json::from_str(&format!("\"{key}\"")).expect("a key out of canonical text"))
}

fn list(mut items: Vec<String>, separator: &str) -> String {
    if items.len() > ITEMS_MAX {
        items.truncate(ITEMS_MAX);
        items.push("…".to_owned());
    }
    items.join(separator)
}
