//! The settings of the server: flags over environment over one TOML file over defaults, parsed once into typed sections.
//!
//! - `definitions`: the table of all settings, each defined once
//! - `layer`: one source of settings: flags, environment, file or defaults
//! - `parse`: converts texts to types, and checks the rules between settings; `sections`: the types
//! - `report`: the output of `config check`
//!
//! An unknown name is an error in every source: a misspelt setting would otherwise silently keep its default.

mod definitions;
mod error;
mod flags;
mod key_command;
mod layer;
mod parse;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod report;
mod sections;
mod size;

use std::path::PathBuf;

use stackbell_system::{Environment, redacted};

pub use definitions::LISTEN_DEFAULT;
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

use definitions::{SETTINGS, Setting};
use layer::{DEFAULT, Layer, Value};

/// The settings from all sources, not yet parsed.
#[derive(Clone, Debug)]
pub struct Found {
    values: Layer,
}

impl Found {
    /// Collects the settings. `defaults` replace the usual defaults, each in the form of a flag's value.
    ///
    /// # Errors
    /// [`ConfigError`], for an unknown name, a wrong form, or a file that cannot be read.
    pub fn collect(
        flags: &SettingFlags,
        environment: &Environment,
        defaults: &[(&'static str, String)],
    ) -> Result<Self, ConfigError> {
        let mut values = layer::defaults(defaults)?;
        if let Some(path) = config_file(flags, environment) {
            values.extend(layer::file(&path)?);
        }
        values.extend(layer::environment(environment)?);
        values.extend(layer::flags(&flags.given)?);
        Ok(Self { values })
    }

    /// Parses the settings.
    ///
    /// # Errors
    /// [`ConfigError`], if a value is not valid, or two settings contradict each other.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        parse::settings(self)
    }

    /// Parses the settings for a server, which requires more settings than other commands.
    ///
    /// # Errors
    /// Those of [`Self::settings`]. Also if the store is shared by nodes, but the master key is not.
    pub fn serving(&self) -> Result<Settings, ConfigError> {
        let settings = self.settings()?;
        parse::check_serving(&settings)?;
        Ok(settings)
    }

    /// The report of `config check`.
    pub fn report(&self) -> Report {
        report::report(self)
    }

    /// The value of a setting; `None` if it is not set and has no default.
    fn value(&self, setting: &Setting) -> Option<&Value> {
        self.values.get(setting.name)
    }

    /// Whether it is set in some source.
    fn is_set(&self, setting: &Setting) -> bool {
        self.value(setting).is_some_and(|value| value.origin != DEFAULT)
    }

    /// The origin of a setting's value, for people. It includes the file if a secret was read from one, and is empty if there is
    /// no value.
    fn origin(&self, setting: &Setting) -> String {
        match self.value(setting) {
            Some(Value { origin, file: Some(path), .. }) => {
                format!("{origin} ({})", redacted(&path.to_string_lossy()))
            }
            Some(Value { origin, file: None, .. }) => origin.clone(),
            None => String::new(),
        }
    }

    /// Our variables that may contain secrets. They are hidden from other programs.
    fn secret_variables() -> Vec<String> {
        let secrets = SETTINGS.iter().filter(|setting| setting.may_hold_secret());
        secrets.map(Setting::variable).chain(["STACKBELL_TOKEN".to_owned()]).collect()
    }
}

fn config_file(flags: &SettingFlags, environment: &Environment) -> Option<PathBuf> {
    flags.config.clone().or_else(|| environment.get("STACKBELL_CONFIG").map(PathBuf::from))
}

#[cfg(test)]
mod tests;
