//! Errors that name a field and its problem.

use std::fmt;

use crate::hidden;

/// The most characters of a sender's text that an error quotes.
const QUOTE_CHARACTERS_MAX: usize = 64;

/// A field with a problem. Displayed as `payload.status must be …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    path: String,
    problem: Problem,
}

/// The problem of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is required, and absent or null.
    Missing,
    /// Its value breaks a rule, which begins with a verb, as in `must be true or false`.
    Invalid(String),
}

impl FieldError {
    /// The field `name` is required and absent.
    pub fn missing(name: &str) -> Self {
        Self { path: name.to_owned(), problem: Problem::Missing }
    }

    /// The field `name` breaks a rule; `problem` begins with a verb.
    pub fn invalid(name: &str, problem: impl fmt::Display) -> Self {
        Self { path: name.to_owned(), problem: Problem::Invalid(problem.to_string()) }
    }

    /// Puts `name` before the path: the field's object is that member of an outer object.
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        prepend(&mut self.path, name);
        self
    }

    /// Puts `index` before the path: the field's object is that item of an array.
    #[must_use]
    pub fn inside_item(mut self, index: usize) -> Self {
        prepend(&mut self.path, &format!("[{index}]"));
        self
    }

    /// The path of the field, as in `payload.organization.githubLogin` or `filters[2]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Missing => write!(f, "{} is required", self.path),
            Problem::Invalid(problem) => write!(f, "{} {problem}", self.path),
        }
    }
}

/// Puts `head` before `path`, with a dot between two names.
pub fn prepend(path: &mut String, head: &str) {
    if !path.is_empty() && !path.starts_with('[') {
        path.insert(0, '.');
    }
    path.insert_str(0, &quote(head));
}

/// A sender's text for an error: cut, with hidden characters spelt out.
pub fn quote(text: &str) -> String {
    let text = hidden::escape(text, &[]);
    let mut cut: String = text.chars().take(QUOTE_CHARACTERS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// `'a', 'b', 'c'`, for messages with the allowed words.
pub fn list(words: impl IntoIterator<Item = &'static str>) -> String {
    words.into_iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_from_the_inside() {
        let error =
            FieldError::missing("githubLogin").inside("organization").inside("payload").inside_item(3);
        assert_eq!(error.path(), "[3].payload.organization.githubLogin");
        assert_eq!(error.to_string(), "[3].payload.organization.githubLogin is required");
        let item = FieldError::invalid("", "must be a string").inside_item(2).inside("filters");
        assert_eq!(item.to_string(), "filters[2] must be a string");
        assert_eq!(quote(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
    }
}
