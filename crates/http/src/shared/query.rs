//! Query parameters.

use axum::extract::Query;
use axum::http::Uri;

use super::error::HttpError;

/// The most parameters that an error tells of one by one.
const TOLD_MAX: usize = 10;

/// What a moment in a query is told to be.
pub(crate) const MOMENT: &str = "a moment like 2026-05-13T06:19:04Z";

/// The parameters of a query, decoded.
pub(crate) struct QueryTexts(Vec<(String, String)>);

impl QueryTexts {
    /// All of them.
    ///
    /// # Errors
    /// 400 where the query cannot be decoded.
    pub(crate) fn any(uri: &Uri) -> Result<Self, HttpError> {
        let texts = Query::<Vec<(String, String)>>::try_from_uri(uri);
        texts.map(|Query(texts)| Self(texts)).map_err(|_| HttpError::bad_request("the query cannot be read"))
    }

    /// All of them, which are to be among `known`.
    ///
    /// # Errors
    /// 400 that names those that are not.
    pub(crate) fn only(uri: &Uri, known: &[&str]) -> Result<Self, HttpError> {
        let texts = Self::any(uri)?;
        let unknown: Vec<_> = texts.0.iter().filter(|(name, _)| !known.contains(&name.as_str())).collect();
        if unknown.is_empty() {
            return Ok(texts);
        }
        let quote = |name: &str| format!("'{}'", name.chars().take(64).collect::<String>());
        let told = unknown.iter().take(TOLD_MAX).map(|(name, _)| quote(name));
        let mut names = told.collect::<Vec<_>>().join(", ");
        if unknown.len() > TOLD_MAX {
            names.push_str(&format!(" and {} more", unknown.len() - TOLD_MAX));
        }
        let allowed = match known {
            [] => "it has none".to_owned(),
            known => {
                format!("it has {}", known.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", "))
            }
        };
        let detail = format!("this route has no query parameter {names}; {allowed}");
        Err(HttpError::bad_request(detail))
    }

    /// A parameter as `parse` understands it, which is told to be `rule` where it does not.
    ///
    /// # Errors
    /// 400 that names the parameter and the rule.
    pub(crate) fn read<T>(
        &self,
        resource: &str,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        rule: &str,
    ) -> Result<Option<T>, HttpError> {
        let refuse = || HttpError::invalid(resource, name, format!("{name} must be {rule}"));
        self.find(name).map(|text| parse(text).ok_or_else(refuse)).transpose()
    }

    /// A parameter; the last one where it is given more than once, `None` where it is empty.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}
