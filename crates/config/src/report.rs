//! What `config check` prints: each setting, its value, and where that comes from.

use std::fmt;

use figment::value::{Num, Value};
use stackbell_store_postgres::DatabaseUrl;

use super::Found;
use super::keys::{KEYS, Key, Kind};
use super::parse::EMBEDDED_PREFIX;
use stackbell_system::{redacted, redacted_url};

/// What stands for what is not shown.
const HIDDEN: &str = "***";

/// All settings as they were found.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) Vec<ReportLine>);

/// One setting as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportLine {
    /// The setting.
    pub name: &'static str,
    /// Its value, `***` for a secret, `None` when it is not set.
    pub value: Option<String>,
    /// A flag, a variable, a file or `default`; empty when it is not set.
    pub source: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            let value = line.value.as_deref().filter(|value| !value.is_empty()).unwrap_or("-");
            writeln!(f, "{:<24}{value:<32} {}", line.name, line.source)?;
        }
        Ok(())
    }
}

pub(crate) fn report(found: &Found) -> Report {
    let lines = KEYS.iter().map(|key| {
        let value = found.figment.find_value(key.name).ok();
        ReportLine {
            name: key.name,
            value: value.map(|value| shown(key, &value)),
            source: found.origin(key.name),
        }
    });
    Report(lines.collect())
}

fn shown(key: &Key, value: &Value) -> String {
    match key.kind {
        Kind::Secret => HIDDEN.to_owned(),
        Kind::Place => place(text(value)),
        // A whole URL of a channel is a credential, and is often put here.
        Kind::List if key.name == "slack_hosts" => {
            text(value).split(',').map(redacted_url).collect::<Vec<_>>().join(",")
        }
        Kind::Text | Kind::Switch | Kind::Number | Kind::Bytes | Kind::List => hide_credentials(text(value)),
    }
}

/// Where a store is. One that cannot be understood may hold a password anywhere.
fn place(text: String) -> String {
    if text.starts_with(EMBEDDED_PREFIX) {
        return text;
    }
    text.parse::<DatabaseUrl>().map_or_else(|_| HIDDEN.to_owned(), |url| url.label())
}

/// A URL may have a password in it, where it must not.
fn hide_credentials(text: String) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            format!("{scheme}://{HIDDEN}@{}", rest.rsplit('@').next().unwrap_or_default())
        }
        Some((_, rest)) if rest.contains(['?', '#']) => redacted(&text),
        Some(_) | None => text,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number_text(*number),
        Value::Array(_, values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => String::new(),
    }
}

fn number_text(number: Num) -> String {
    number.to_u128().map_or_else(String::new, |number| number.to_string())
}
