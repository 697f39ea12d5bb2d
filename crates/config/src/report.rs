//! The report of `config check`: each setting, its value, and the origin of the value.

use std::fmt;

use stackbell_store_postgres::DatabaseUrl;

use super::Found;
use super::definitions::{Kind, SETTINGS, SLACK_HOSTS, Setting};
use super::layer::Value;
use super::parse::EMBEDDED_PREFIX;
use stackbell_system::{redacted, redacted_url};

/// The placeholder for a hidden value.
const HIDDEN: &str = "***";

/// All settings, with value and origin.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) Vec<ReportLine>);

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportLine {
    /// The setting.
    pub name: &'static str,
    /// Its value, `***` for a secret, `None` if it is not set.
    pub value: Option<String>,
    /// A flag, a variable, a file or `default`; empty if it is not set.
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
    let lines = SETTINGS.iter().map(|setting| {
        let value = found.value(setting);
        ReportLine {
            name: setting.name,
            value: value.map(|value| shown(setting, value)),
            source: value.map_or_else(String::new, |value| value.origin.clone()),
        }
    });
    Report(lines.collect())
}

fn shown(setting: &Setting, value: &Value) -> String {
    match setting.kind {
        Kind::Secret => HIDDEN.to_owned(),
        Kind::Place => place(value.text()),
        // A whole webhook URL of Slack is a credential, and people often put it here by mistake instead of its host.
        Kind::List if setting.name == SLACK_HOSTS.name => {
            value.texts.iter().map(|text| redacted_url(text)).collect::<Vec<_>>().join(",")
        }
        Kind::Text | Kind::Switch | Kind::Number | Kind::Bytes | Kind::List => {
            hide_credentials(value.texts.join(","))
        }
    }
}

/// The location of a store. A text that cannot be parsed is hidden, because it may contain a password anywhere.
fn place(text: &str) -> String {
    if text.starts_with(EMBEDDED_PREFIX) {
        return text.to_owned();
    }
    text.parse::<DatabaseUrl>().map_or_else(|_| HIDDEN.to_owned(), |url| url.label())
}

/// A text without the password or token that its URL may contain by mistake.
fn hide_credentials(text: String) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            format!("{scheme}://{HIDDEN}@{}", rest.rsplit('@').next().unwrap_or_default())
        }
        Some((_, rest)) if rest.contains(['?', '#']) => redacted(&text),
        Some(_) | None => text,
    }
}
