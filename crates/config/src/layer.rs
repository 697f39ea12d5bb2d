//! One place that settings come from, read and checked for names and forms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use stackbell_system::{Environment, without_mark};

use super::error::ConfigError;
use super::keys::{KEYS, Key, Kind, OTHER_VARIABLES, nearest};

/// What the layers of defaults are called.
pub(crate) const DEFAULT: &str = "default";

/// The form of a setting that is a number. Many have a narrower range.
const WHOLE_NUMBER: &str = "a whole number from 0 to 4294967295";

/// Settings of one place, each with what `config check` calls that place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    name: &'static str,
    values: BTreeMap<&'static str, LayerValue>,
}

/// One setting of a layer.
#[derive(Clone, Debug)]
struct LayerValue {
    value: Value,
    origin: String,
    /// Of a secret that was read from a file: which.
    file: Option<PathBuf>,
}

impl LayerValue {
    fn new(value: Value, origin: impl Into<String>) -> Self {
        Self { value, origin: origin.into(), file: None }
    }

    /// The secret in a file.
    fn secret(path: &Path, origin: String) -> Result<Self, ConfigError> {
        let value = Value::from(read_secret(path, &origin)?);
        Ok(Self { value, origin, file: Some(path.to_owned()) })
    }
}

/// A form that a value has not. The value is not repeated, for it may be a secret.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be {0}")]
struct WrongForm(&'static str);

impl Layer {
    /// What holds when nobody says otherwise.
    pub(crate) fn defaults(values: &[(&'static str, Value)]) -> Self {
        let values = values.iter().map(|(name, value)| (*name, LayerValue::new(value.clone(), DEFAULT)));
        Self { name: DEFAULT, values: values.collect() }
    }

    /// The flags that were given.
    ///
    /// # Errors
    /// [`ConfigError`], when a value has not its setting's form.
    pub(crate) fn flags(given: &BTreeMap<&'static str, Vec<String>>) -> Result<Self, ConfigError> {
        let mut layer = Self { name: "flags", values: BTreeMap::new() };
        for key in KEYS {
            let Some(texts) = given.get(key.name) else { continue };
            let origin = format!("--{}", key.flag());
            let last = texts.last().map(String::as_str).unwrap_or_default();
            let value = match key.kind {
                Kind::Secret => LayerValue::secret(Path::new(last), origin)?,
                Kind::List => LayerValue::new(of_text(key, &texts.join(","), &origin)?, origin),
                Kind::Text | Kind::Place | Kind::Switch | Kind::Number | Kind::Bytes => {
                    LayerValue::new(of_text(key, last, &origin)?, origin)
                }
            };
            layer.values.insert(key.name, value);
        }
        Ok(layer)
    }

    /// The variables that are set.
    ///
    /// # Errors
    /// [`ConfigError`], for a name that there is not, a value that has not its setting's form, or a file that cannot be read.
    pub(crate) fn environment(environment: &Environment) -> Result<Self, ConfigError> {
        let mut layer = Self { name: "environment", values: BTreeMap::new() };
        let mut known: Vec<String> = OTHER_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        for key in KEYS {
            let variable = key.variable();
            let by_value = environment.get(&variable);
            let file_variable = key.file_name().map(|_| format!("{variable}_FILE"));
            let by_file = file_variable.as_deref().and_then(|name| environment.get(name));
            let found = match (by_value, by_file) {
                (Some(_), Some(_)) => {
                    let file_name = file_variable.clone().unwrap_or_default();
                    return Err(ConfigError::Both {
                        origin: "environment".to_owned(),
                        name: variable,
                        file_name,
                    });
                }
                (Some(text), None) => Some(LayerValue::new(of_text(key, text, &variable)?, &variable)),
                (None, Some(path)) => Some(LayerValue::secret(Path::new(path), format!("{variable}_FILE"))?),
                (None, None) => None,
            };
            layer.values.extend(found.map(|found| (key.name, found)));
            known.push(variable);
            known.extend(file_variable);
        }
        let is_known =
            |name: &str| known.iter().any(|known| known == name) || environment.is_service_link(name);
        match environment.own_names().find(|name| !is_known(name)) {
            None => Ok(layer),
            Some(name) => Err(ConfigError::Unknown {
                origin: "environment".to_owned(),
                name: format!("variable {name}"),
                nearest: nearest(name, known.iter().map(String::as_str)).to_owned(),
            }),
        }
    }

    /// The settings in a TOML file. Relative paths of secrets' files are relative to the process, as all paths are.
    ///
    /// # Errors
    /// [`ConfigError`], when the file cannot be read, is no TOML, or has a key or form that there is not.
    pub(crate) fn file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::toml(path, without_mark(&text))
    }

    /// The settings in a TOML file's text.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub(crate) fn toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut layer = Self { name: "file", values: BTreeMap::new() };
        let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count()),
            problem: error.message().to_owned(),
        })?;
        let origin = path.display().to_string();
        for (name, value) in &table {
            let (key, value) = of_toml(name, value, &origin)?;
            if layer.values.insert(key.name, value).is_some() {
                let file_name = key.file_name().unwrap_or_default();
                return Err(ConfigError::Both { origin, name: key.name.to_owned(), file_name });
            }
        }
        Ok(layer)
    }

    /// Of each setting in this layer, the file that it was read from, if it is a secret that was.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = (&'static str, Option<PathBuf>)> {
        self.values.iter().map(|(name, value)| (*name, value.file.clone()))
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let origins: BTreeMap<String, String> =
            self.values.iter().map(|(name, value)| ((*name).to_owned(), value.origin.clone())).collect();
        Metadata::named(self.name).interpolater(move |_: &Profile, keys: &[&str]| {
            keys.first().and_then(|key| origins.get(*key)).cloned().unwrap_or_default()
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let values = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.value.clone()));
        Ok(Map::from([(Profile::Default, values.collect())]))
    }
}

/// The value that a flag's or a variable's text means.
fn of_text(key: &'static Key, text: &str, origin: &str) -> Result<Value, ConfigError> {
    let value = match key.kind {
        // White space is dropped from a file with a secret, too.
        Kind::Secret | Kind::Place => Ok(Value::from(text.trim())),
        Kind::Text | Kind::Bytes => Ok(Value::from(text)),
        Kind::Switch => text.parse::<bool>().map(Value::from).map_err(|_| WrongForm("true or false")),
        Kind::Number => text.parse::<u32>().map(Value::from).map_err(|_| WrongForm(WHOLE_NUMBER)),
        Kind::List => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::from(parts.map(str::to_owned).collect::<Vec<_>>()))
        }
    };
    value.map_err(|form| invalid(key, origin, form))
}

/// The setting and the value that a key of the file means.
fn of_toml(name: &str, value: &toml::Value, origin: &str) -> Result<(&'static Key, LayerValue), ConfigError> {
    if let Some(key) = KEYS.iter().find(|key| key.file_name().as_deref() == Some(name)) {
        let path = value.as_str().ok_or_else(|| invalid(key, origin, WrongForm("a text")))?;
        return Ok((key, LayerValue::secret(Path::new(path), format!("{name} in {origin}"))?));
    }
    let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let file_names: Vec<String> = KEYS.iter().filter_map(Key::file_name).collect();
        let known = KEYS.iter().map(|key| key.name).chain(file_names.iter().map(String::as_str));
        let nearest = nearest(name, known).to_owned();
        ConfigError::Unknown { origin: origin.to_owned(), name: format!("setting {name}"), nearest }
    })?;
    let read = match key.kind {
        Kind::Text | Kind::Secret | Kind::Place => value.as_str().map(Value::from).ok_or(WrongForm("a text")),
        Kind::Switch => value.as_bool().map(Value::from).ok_or(WrongForm("true or false")),
        Kind::Number => {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            number.map(Value::from).ok_or(WrongForm(WHOLE_NUMBER))
        }
        Kind::Bytes => {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            let text = value.as_str().map(str::to_owned).or_else(|| number.map(|number| number.to_string()));
            text.map(Value::from).ok_or(WrongForm("a whole number, or a text such as \"256KiB\""))
        }
        Kind::List => {
            let texts = value.as_array().and_then(|values| values.iter().map(toml::Value::as_str).collect());
            texts.map(|texts: Vec<&str>| Value::from(texts)).ok_or(WrongForm("an array of texts"))
        }
    };
    read.map(|value| (key, LayerValue::new(value, origin))).map_err(|form| invalid(key, origin, form))
}

fn invalid(key: &'static Key, origin: &str, form: WrongForm) -> ConfigError {
    ConfigError::Invalid { key: key.name, origin: origin.to_owned(), source: Box::new(form) }
}

/// The secret in a file. `origin` is the setting that names the file, for the error.
///
/// # Errors
/// [`ConfigError::SecretFile`].
pub fn read_secret(path: &Path, origin: &str) -> Result<String, ConfigError> {
    stackbell_system::read_secret(path).map_err(|source| ConfigError::SecretFile {
        origin: origin.to_owned(),
        path: path.to_owned(),
        source,
    })
}
