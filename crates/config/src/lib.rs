//! Settings: flags over the environment over one TOML file over defaults, parsed once into typed sections.
//!
//! - [`keys`]: the table of what can be set
//! - [`layer`]: one place that settings come from
//! - [`sections`]: what the rest of the program is given
//! - [`report`]: what `config check` prints
//!
//! A name that there is not is an error, wherever it stands: a misspelt setting would otherwise be a silent default.

mod error;
mod flags;
mod key_command;
mod keys;
mod layer;
mod parse;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod report;
mod sections;
mod size;

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;
use stackbell_model::retry::RetryPolicy;

pub use error::ConfigError;
pub use flags::SettingFlags;
pub use key_command::{KeyCommand, KeyCommandError};
pub use layer::read_secret;
pub use report::Report;
pub use sections::{
    BootstrapSettings, DatabaseSettings, DeliverySettings, EmbeddedSettings, GivenKey, KeySettings,
    LimitSettings, LogFormat, LogSettings, MasterKeySetting, OutboundSection, RetentionSettings,
    ServerSettings, Settings, StorageSettings, StoreSettings, TlsFiles,
};

use keys::{KEYS, Key};
use layer::{DEFAULT, Layer};
use stackbell_system::{Environment, duration_text, redacted};

/// Where a server listens unless it is told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8722";

/// Settings as they were found, not yet looked at.
#[derive(Clone, Debug)]
pub struct Found {
    figment: Figment,
    /// The files that the secrets which hold were read from.
    secret_files: BTreeMap<&'static str, PathBuf>,
}

impl Found {
    /// Collects the settings. `defaults` replace the usual ones.
    ///
    /// # Errors
    /// [`ConfigError`], for a name that there is not, a wrong form, or a file that cannot be read.
    pub fn collect(
        flags: &SettingFlags,
        environment: &Environment,
        defaults: &[(&'static str, Value)],
    ) -> Result<Self, ConfigError> {
        let mut layers = vec![usual_defaults(), Layer::defaults(defaults)];
        if let Some(path) = config_file(flags, environment) {
            layers.push(Layer::file(&path)?);
        }
        layers.push(Layer::environment(environment)?);
        layers.push(Layer::flags(&flags.given)?);
        let empty = Self { figment: Figment::new(), secret_files: BTreeMap::new() };
        Ok(layers.into_iter().fold(empty, Self::merge))
    }

    /// The same with what `layer` says above it.
    fn merge(mut self, layer: Layer) -> Self {
        for (name, file) in layer.secret_files() {
            match file {
                Some(path) => self.secret_files.insert(name, path),
                None => self.secret_files.remove(name),
            };
        }
        Self { figment: self.figment.merge(layer), ..self }
    }

    /// Parses them.
    ///
    /// # Errors
    /// [`ConfigError`], when a value is none of its setting's, or two settings do not go together.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        parse::settings(self)
    }

    /// The same for who is to serve with them, which needs more than others do.
    ///
    /// # Errors
    /// As [`Self::settings`]; when there is a store that nodes share, and no master key that they could.
    pub fn serving(&self) -> Result<Settings, ConfigError> {
        let settings = self.settings()?;
        parse::check_serving(&settings)?;
        Ok(settings)
    }

    /// What `config check` prints.
    pub fn report(&self) -> Report {
        report::report(self)
    }

    /// Whether somebody set it.
    fn is_set(&self, key: &str) -> bool {
        self.figment.find_metadata(key).is_some_and(|metadata| metadata.name != DEFAULT)
    }

    /// Where a setting's value comes from; empty when it has none.
    fn origin(&self, key: &str) -> String {
        let metadata = self.figment.find_metadata(key);
        metadata.map_or_else(String::new, |metadata| metadata.interpolate(self.figment.profile(), &[key]))
    }
}

impl Found {
    /// Where a setting comes from, for people: with the file, where a secret was read from one.
    fn key_origin(&self, key: &'static str) -> String {
        match self.secret_files.get(key) {
            Some(path) => format!("{} ({})", self.origin(key), redacted(&path.to_string_lossy())),
            None => self.origin(key),
        }
    }

    /// The variables that may hold secrets of ours, which no other program is to see.
    fn secret_variables() -> Vec<String> {
        let secrets = KEYS.iter().filter(|key| key.may_hold_secret());
        secrets.map(Key::variable).chain(["STACKBELL_TOKEN".to_owned()]).collect()
    }
}

fn config_file(flags: &SettingFlags, environment: &Environment) -> Option<PathBuf> {
    flags.config.clone().or_else(|| environment.get("STACKBELL_CONFIG").map(PathBuf::from))
}

fn usual_defaults() -> Layer {
    let none = || Value::from(Vec::<String>::new());
    let retry = RetryPolicy::default().waits;
    let retry: Vec<String> = retry.into_iter().map(duration_text).collect();
    Layer::defaults(&[
        ("listen", Value::from(LISTEN_DEFAULT)),
        ("data", Value::from("stackbell-data")),
        // Some nodes with so many each are within the 100 that PostgreSQL has by default.
        ("database_connections", Value::from(16_u32)),
        ("database_pooling", Value::from("session")),
        ("trusted_proxy", none()),
        ("allow_plain_http", Value::from(false)),
        ("outbound_allow", none()),
        ("slack_hosts", Value::from(vec!["hooks.slack.com"])),
        // Source: wire-facts.md#outgoing-request.
        ("exchange_timeout", Value::from("15s")),
        ("retry_schedule", Value::from(retry)),
        ("in_flight_max", Value::from(1024_u32)),
        ("payload_bytes_max", Value::from("256KiB")),
        ("request_bytes_max", Value::from("4MiB")),
        ("events_in_request_max", Value::from(1000_u32)),
        ("webhooks_in_scope_max", Value::from(1000_u32)),
        ("pending_deliveries_max", Value::from(1_000_000_u32)),
        ("stored_bytes_max", Value::from("20GiB")),
        ("requests_per_second", Value::from(1000_u32)),
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
