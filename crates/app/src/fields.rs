//! Validation of fields. All fields are checked, so that one response reports all problems.

use stackbell_model::hidden;
use stackbell_model::permission::Role;

use crate::{Code, Error, FieldError, FieldProblem};

/// The most bytes of a picture's URL or an e-mail address. Other systems refuse longer ones.
const TEXT_BYTES_MAX: usize = 2048;

/// Collects the problems with fields.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    wrong: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn invalid(&mut self, field: &'static str, message: impl Into<String>) {
        self.wrong.push(FieldError::new(field, FieldProblem::Invalid, message.into()));
    }

    pub(crate) fn required(&mut self, field: &'static str) {
        self.wrong.push(FieldError::new(field, FieldProblem::Required, "is required"));
    }

    /// Reads a field. Records the problem and returns `None` if it is invalid.
    pub(crate) fn read<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.map_err(|error| self.invalid(field, error.to_string())).ok()
    }

    /// Reads a required text.
    pub(crate) fn read_required<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match text {
            Some(text) => self.read(field, parse(text)),
            None => {
                self.required(field);
                None
            }
        }
    }

    /// Reads a free text; empty if it is absent.
    pub(crate) fn read_text(&mut self, field: &'static str, text: Option<&str>) -> String {
        let text = text.unwrap_or_default();
        if text.len() > TEXT_BYTES_MAX || hidden::find(text).is_some() {
            let rule = format!(
                "must be at most {TEXT_BYTES_MAX} bytes long, without control or invisible characters"
            );
            self.invalid(field, rule);
        }
        text.to_owned()
    }

    /// Reads a required role.
    pub(crate) fn read_role(&mut self, role: Option<&str>) -> Option<Role> {
        let known = || Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        match role {
            Some(text) => self.read_list("role", &[text.to_owned()], Role::parse, known).pop(),
            None => {
                self.required("role");
                None
            }
        }
    }

    /// Reads each entry of a list with `parse`. `known` lists the allowed entries.
    pub(crate) fn read_list<T>(
        &mut self,
        field: &'static str,
        texts: &[String],
        parse: impl Fn(&str) -> Option<T>,
        known: impl Fn() -> String,
    ) -> Vec<T> {
        self.read_explained(field, texts, parse, |unknown| {
            format!("must be one of {}; unknown: {}", known(), unknown.name(|_| String::new()))
        })
    }

    /// Reads each entry of a list with `parse`. `explain` describes the unknown entries in one sentence that names some of
    /// them: a long list of nonsense must not make a longer response.
    pub(crate) fn read_explained<T>(
        &mut self,
        field: &'static str,
        texts: &[String],
        parse: impl Fn(&str) -> Option<T>,
        explain: impl Fn(&Unknown<'_>) -> String,
    ) -> Vec<T> {
        let unknown = Unknown(texts.iter().filter(|text| parse(text).is_none()).collect());
        if !unknown.0.is_empty() {
            let message = explain(&unknown);
            self.invalid(field, message);
        }
        texts.iter().filter_map(|text| parse(text)).collect()
    }

    /// Checks a text that must equal a part of the URL if it is present.
    pub(crate) fn matches_url(&mut self, field: &'static str, given: Option<&str>, url: Option<&str>) {
        match (given.filter(|text| !text.is_empty()), url) {
            (Some(given), Some(url)) if given != url => {
                self.invalid(field, format!("must be '{url}' as in the URL, is '{}'", shorten(given)));
            }
            (Some(_), None) => self.invalid(field, "does not belong to a webhook of this scope"),
            (Some(_) | None, _) => {}
        }
    }

    /// Returns `value` if there are no problems.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.wrong.is_empty() => Ok(value),
            Some(_) | None => Err(Error::invalid(self.wrong)),
        }
    }
}

/// The error for a name that is taken.
pub(crate) fn taken(field: &'static str, message: String) -> Error {
    let wrong = FieldError::new(field, FieldProblem::AlreadyExists, "is taken");
    Error { fields: vec![wrong], ..Error::new(Code::Conflict, message) }
}

/// The entries of a list that are not allowed.
pub(crate) struct Unknown<'a>(Vec<&'a String>);

impl Unknown<'_> {
    /// The most entries that a message names.
    const NAMED_MAX: usize = 10;

    /// The entries for which `is` holds, and the others.
    pub(crate) fn partition(&self, is: impl Fn(&str) -> bool) -> (Self, Self) {
        let (those, others) = self.0.iter().copied().partition(|text| is(text));
        (Self(those), Self(others))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names the entries as `'a', 'b' and 3 more`. `remark` may add a text to each.
    pub(crate) fn name(&self, remark: impl Fn(&str) -> String) -> String {
        let named = self.0.iter().take(Self::NAMED_MAX);
        let named: Vec<_> = named.map(|text| format!("'{}'{}", shorten(text), remark(text))).collect();
        let more = match self.0.len().saturating_sub(Self::NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}", named.join(", "))
    }
}

/// A text from the request, shortened for a message.
fn shorten(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    let mut shortened: String = text.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shortened.push('…');
    }
    shortened
}
