//! Settings: flags over the environment over one TOML file over defaults, parsed once into typed sections.
//!
//! - [`keys`]: the table of what can be set
//! - [`layer`]: one place that settings come from
//! - [`sections`]: what the rest of the program is given
//! - [`report`]: what `config check` prints
//!
//! A name that there is not is an error, wherever it stands: a misspelt setting would otherwise be a silent default.

mod duration;
mod environment;
mod error;
mod flags;
mod keys;
mod layer;
mod parse;
mod report;
mod sections;

use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;

pub(crate) use duration::parse_duration;
pub(crate) use environment::Environment;
pub(crate) use error::ConfigError;
pub(crate) use flags::SettingFlags;
pub(crate) use layer::read_secret;
pub(crate) use report::Report;
pub(crate) use sections::{
    BootstrapSettings, LogFormat, LogSettings, OutboundSection, SecretText, ServerSettings, Settings,
    StorageSettings,
};

use layer::Layer;

/// Where a server listens unless it is told otherwise.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:8722";

/// Settings as they were found, not yet looked at.
#[derive(Clone, Debug)]
pub(crate) struct Found(Figment);

impl Found {
    /// Collects the settings. `defaults` replace the usual ones.
    ///
    /// # Errors
    /// [`ConfigError`], for a name that there is not, a wrong form, or a file that cannot be read.
    pub(crate) fn collect(
        flags: &SettingFlags,
        environment: &Environment,
        defaults: &[(&'static str, Value)],
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new().merge(usual_defaults()).merge(Layer::defaults(defaults));
        if let Some(path) = config_file(flags, environment) {
            figment = figment.merge(Layer::file(&path)?);
        }
        Ok(Self(figment.merge(Layer::environment(environment)?).merge(Layer::flags(&flags.given)?)))
    }

    /// Parses them.
    ///
    /// # Errors
    /// [`ConfigError`], when a value is none of its setting's, or two settings do not go together.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        parse::settings(self)
    }

    /// What `config check` prints.
    pub(crate) fn report(&self) -> Report {
        report::report(self)
    }

    /// Where a setting's value comes from; empty when it has none.
    fn origin(&self, key: &str) -> String {
        let metadata = self.0.find_metadata(key);
        metadata.map_or_else(String::new, |metadata| metadata.interpolate(self.0.profile(), &[key]))
    }
}

fn config_file(flags: &SettingFlags, environment: &Environment) -> Option<PathBuf> {
    flags.config.clone().or_else(|| environment.get("STACKBELL_CONFIG").map(PathBuf::from))
}

fn usual_defaults() -> Layer {
    Layer::defaults(&[
        ("listen", Value::from(LISTEN_DEFAULT)),
        ("data", Value::from("stackbell-data")),
        ("allow_plain_http", Value::from(false)),
        ("outbound_allow", Value::from(Vec::<String>::new())),
        ("slack_hosts", Value::from(vec!["hooks.slack.com"])),
        ("bootstrap_user", Value::from("admin")),
        ("expect_existing", Value::from(false)),
        // What container runtimes leave between asking and killing is 10 s (Docker) or 30 s (Kubernetes);
        // an exchange with an endpoint takes 15 s at the most.
        ("stop_timeout", Value::from("20s")),
        ("retention_days", Value::from(30_u32)),
        ("audit_retention_days", Value::from(365_u32)),
        ("log_format", Value::from("auto")),
        ("log_level", Value::from("info")),
    ])
}

#[cfg(test)]
mod tests;
