//! What `config check` prints: each setting, its value, and where that comes from.

use std::fmt;

use figment::value::{Num, Value};

use super::Found;
use super::keys::{KEYS, Kind};

/// All settings as they were found.
#[derive(Clone, Debug)]
pub(crate) struct Report(pub(super) Vec<ReportLine>);

/// One setting as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportLine {
    /// The setting.
    pub(crate) name: &'static str,
    /// Its value, `***` for a secret, `None` when it is not set.
    pub(crate) value: Option<String>,
    /// A flag, a variable, a file or `default`; empty when it is not set.
    pub(crate) source: String,
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

pub(super) fn report(found: &Found) -> Report {
    let lines = KEYS.iter().map(|key| {
        let value = found.figment.find_value(key.name).ok();
        let value = value.map(|value| if key.kind == Kind::Secret { "***".to_owned() } else { text(&value) });
        ReportLine { name: key.name, value: value.map(hide_credentials), source: found.origin(key.name) }
    });
    Report(lines.collect())
}

/// A database's URL may have a password in it.
fn hide_credentials(text: String) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            format!("{scheme}://***@{}", rest.rsplit('@').next().unwrap_or_default())
        }
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
