//! What is wrong with a field, and which one it is.

use std::fmt;

use crate::hidden;

/// The most characters of a sender's own text that an error repeats.
const QUOTE_CHARACTERS_MAX: usize = 64;

/// A field that is not what it has to be. Reads as `payload.status must be …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    path: String,
    problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is needed and absent (or null, which is the same).
    Missing,
    /// It is there and wrong: what it has to be, beginning with a verb, as in `must be true or false`.
    Invalid(String),
}

impl FieldError {
    /// The field `name` is needed and absent.
    pub fn missing(name: &str) -> Self {
        Self { path: name.to_owned(), problem: Problem::Missing }
    }

    /// The field `name` is wrong; `problem` begins with a verb.
    pub fn invalid(name: &str, problem: impl fmt::Display) -> Self {
        Self { path: name.to_owned(), problem: Problem::Invalid(problem.to_string()) }
    }

    /// The same error, seen from the object that holds the field's object as its member `name`.
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        prepend(&mut self.path, name);
        self
    }

    /// The same error, seen from the array that holds the field's object at `index`.
    #[must_use]
    pub fn inside_item(mut self, index: usize) -> Self {
        prepend(&mut self.path, &format!("[{index}]"));
        self
    }

    /// The field, as in `payload.organization.githubLogin` or `filters[2]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
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

/// Puts `head` before `path`, with a dot between them where one belongs.
pub fn prepend(path: &mut String, head: &str) {
    if !path.is_empty() && !path.starts_with('[') {
        path.insert(0, '.');
    }
    path.insert_str(0, &quote(head));
}

/// A sender's text, cut to what an error may repeat of it, with its hidden characters spelt out.
pub fn quote(text: &str) -> String {
    let text = hidden::escape(text, &[]);
    let mut cut: String = text.chars().take(QUOTE_CHARACTERS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// `'a', 'b', 'c'`, for messages that say what is allowed.
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
