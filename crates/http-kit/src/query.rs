//! Query parameters.

use axum::extract::Query;
use axum::http::Uri;

use crate::error::HttpError;

/// The most unknown parameters that an error lists.
const LISTED_MAX: usize = 10;

/// The rule of a parameter that is a moment.
pub const MOMENT: &str = "a moment like 2026-05-13T06:19:04Z";

/// The parameters of a query, decoded.
pub struct QueryTexts(Vec<(String, String)>);

impl QueryTexts {
    /// All parameters.
    ///
    /// # Errors
    /// 400 if the query cannot be decoded.
    pub fn any(uri: &Uri) -> Result<Self, HttpError> {
        let texts = Query::<Vec<(String, String)>>::try_from_uri(uri);
        texts.map(|Query(texts)| Self(texts)).map_err(|_| HttpError::bad_request("the query cannot be read"))
    }

    /// All parameters, each of which must be among `known`.
    ///
    /// # Errors
    /// 400 that names the unknown ones.
    pub fn only(uri: &Uri, known: &[&str]) -> Result<Self, HttpError> {
        let texts = Self::any(uri)?;
        let unknown: Vec<_> = texts.0.iter().filter(|(name, _)| !known.contains(&name.as_str())).collect();
        if unknown.is_empty() {
            return Ok(texts);
        }
        let quote = |name: &str| format!("'{}'", name.chars().take(64).collect::<String>());
        let listed = unknown.iter().take(LISTED_MAX).map(|(name, _)| quote(name));
        let mut names = listed.collect::<Vec<_>>().join(", ");
        if unknown.len() > LISTED_MAX {
            names.push_str(&format!(" and {} more", unknown.len() - LISTED_MAX));
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

    /// A parameter as `parse` reads it; `rule` says how it must look.
    ///
    /// # Errors
    /// 400 that names the parameter and the rule.
    pub fn read<T>(
        &self,
        resource: &str,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        rule: &str,
    ) -> Result<Option<T>, HttpError> {
        let refuse = || HttpError::invalid(resource, name, format!("{name} must be {rule}"));
        self.find(name).map(|text| parse(text).ok_or_else(refuse)).transpose()
    }

    /// A parameter: the last one if it is given more than once, `None` if it is empty.
    pub fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}
