//! One source of settings, read and checked for names and forms.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use stackbell_system::{Environment, without_mark};

use super::definitions::{Kind, OTHER_VARIABLES, SETTINGS, Setting, nearest};
use super::error::ConfigError;

/// The origin of default values.
pub(crate) const DEFAULT: &str = "default";

/// The form of a numeric setting. Many have a narrower range.
const WHOLE_NUMBER: &str = "a whole number from 0 to 4294967295";

/// The settings from one source, by name.
pub(crate) type Layer = BTreeMap<&'static str, Value>;

/// The value of a setting, in the form of its kind.
#[derive(Clone)]
pub(crate) struct Value {
    /// The texts of a list; exactly one text for any other kind. A number has no leading zeros; a switch is `true` or `false`.
    pub(crate) texts: Vec<String>,
    /// A flag, a variable, a file or `default`.
    pub(crate) origin: String,
    /// The file that a secret was read from.
    pub(crate) file: Option<PathBuf>,
}

impl Value {
    fn new(texts: Vec<String>, origin: impl Into<String>) -> Self {
        Self { texts, origin: origin.into(), file: None }
    }

    /// The secret in a file.
    fn secret(path: &Path, origin: String) -> Result<Self, ConfigError> {
        Ok(Self { texts: vec![read_secret(path, &origin)?], origin, file: Some(path.to_owned()) })
    }

    /// Its only text.
    pub(crate) fn text(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }
}

impl fmt::Debug for Value {
    /// Shows only the origin, because the value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.origin)
    }
}

/// A value of the wrong form. The error does not repeat the value, which may be a secret.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be {0}")]
struct WrongForm(&'static str);

/// The defaults of all settings. `others` replace the usual defaults.
///
/// # Errors
/// [`ConfigError`], if a value does not have its setting's form.
pub(crate) fn defaults(others: &[(&'static str, String)]) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for setting in SETTINGS {
        let other = others.iter().find(|(name, _)| *name == setting.name).map(|(_, text)| text.clone());
        if let Some(text) = other.or_else(|| setting.default_text()) {
            layer.insert(setting.name, of_text(setting, &text, DEFAULT)?);
        }
    }
    Ok(layer)
}

/// The flags that were given.
///
/// # Errors
/// [`ConfigError`], if a value does not have its setting's form.
pub(crate) fn flags(given: &BTreeMap<&'static str, Vec<String>>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for setting in SETTINGS {
        let Some(texts) = given.get(setting.name) else { continue };
        let origin = format!("--{}", setting.flag());
        let last = texts.last().map(String::as_str).unwrap_or_default();
        let value = match setting.kind {
            Kind::Secret => Value::secret(Path::new(last), origin)?,
            Kind::List => of_text(setting, &texts.join(","), &origin)?,
            Kind::Text | Kind::Place | Kind::Switch | Kind::Number | Kind::Bytes => {
                of_text(setting, last, &origin)?
            }
        };
        layer.insert(setting.name, value);
    }
    Ok(layer)
}

/// The variables that are set.
///
/// # Errors
/// [`ConfigError`], for an unknown name, a value that does not have its setting's form, or a file that cannot be read.
pub(crate) fn environment(environment: &Environment) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    let mut known: Vec<String> = OTHER_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    for setting in SETTINGS {
        let variable = setting.variable();
        let file_variable = setting.file_name().map(|_| format!("{variable}_FILE"));
        let by_file = file_variable.as_deref().and_then(|name| environment.get(name));
        let found = match (environment.get(&variable), by_file) {
            (Some(_), Some(_)) => {
                let file_name = file_variable.clone().unwrap_or_default();
                return Err(ConfigError::Both {
                    origin: "environment".to_owned(),
                    name: variable,
                    file_name,
                });
            }
            (Some(text), None) => Some(of_text(setting, text, &variable)?),
            (None, Some(path)) => Some(Value::secret(Path::new(path), format!("{variable}_FILE"))?),
            (None, None) => None,
        };
        layer.extend(found.map(|found| (setting.name, found)));
        known.push(variable);
        known.extend(file_variable);
    }
    let is_known = |name: &str| known.iter().any(|known| known == name) || environment.is_service_link(name);
    match environment.own_names().find(|name| !is_known(name)) {
        None => Ok(layer),
        Some(name) => Err(ConfigError::Unknown {
            origin: "environment".to_owned(),
            name: format!("variable {name}"),
            nearest: nearest(name, known.iter().map(String::as_str)).to_owned(),
        }),
    }
}

/// The settings in a TOML file. Relative paths, also those of secrets' files, start at the working directory of the process.
///
/// # Errors
/// [`ConfigError`], if the file cannot be read, is not TOML, or has an unknown key or a value of the wrong form.
pub(crate) fn file(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml(path, without_mark(&text))
}

/// The settings in the text of a TOML file.
///
/// # Errors
/// Those of [`file`].
pub(crate) fn toml(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count()),
        problem: error.message().to_owned(),
    })?;
    let origin = path.display().to_string();
    for (name, value) in &table {
        let (setting, value) = of_toml(name, value, &origin)?;
        if layer.insert(setting.name, value).is_some() {
            let file_name = setting.file_name().unwrap_or_default();
            return Err(ConfigError::Both { origin, name: setting.name.to_owned(), file_name });
        }
    }
    Ok(layer)
}

/// Parses the text of a flag or a variable.
fn of_text(setting: &Setting, text: &str, origin: &str) -> Result<Value, ConfigError> {
    let one = |text: &str| Ok(vec![text.to_owned()]);
    let texts = match setting.kind {
        // White space around a secret is dropped in a file, and therefore here too.
        Kind::Secret | Kind::Place => one(text.trim()),
        Kind::Text | Kind::Bytes => one(text),
        Kind::Switch => match text {
            "true" | "false" => one(text),
            _ => Err(WrongForm("true or false")),
        },
        Kind::Number => match text.parse::<u32>() {
            Ok(number) => one(&number.to_string()),
            Err(_) => Err(WrongForm(WHOLE_NUMBER)),
        },
        Kind::List => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(str::to_owned).collect())
        }
    };
    texts.map(|texts| Value::new(texts, origin)).map_err(|form| invalid(setting, origin, form))
}

/// The setting and the value for a key of the file.
fn of_toml(name: &str, value: &toml::Value, origin: &str) -> Result<(&'static Setting, Value), ConfigError> {
    let of_file = |setting: &&Setting| setting.file_name().as_deref() == Some(name);
    if let Some(setting) = SETTINGS.iter().find(of_file) {
        let path = value.as_str().ok_or_else(|| invalid(setting, origin, WrongForm("a text")))?;
        return Ok((setting, Value::secret(Path::new(path), format!("{name} in {origin}"))?));
    }
    let setting = SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let file_names: Vec<String> = SETTINGS.iter().filter_map(Setting::file_name).collect();
        let known = SETTINGS.iter().map(|setting| setting.name);
        let nearest = nearest(name, known.chain(file_names.iter().map(String::as_str))).to_owned();
        ConfigError::Unknown { origin: origin.to_owned(), name: format!("setting {name}"), nearest }
    })?;
    let one = |text: Option<String>| text.map(|text| vec![text]);
    let texts = match setting.kind {
        Kind::Text | Kind::Secret | Kind::Place => {
            one(value.as_str().map(str::to_owned)).ok_or(WrongForm("a text"))
        }
        Kind::Switch => one(value.as_bool().map(|on| on.to_string())).ok_or(WrongForm("true or false")),
        Kind::Number => {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            one(number.map(|number| number.to_string())).ok_or(WrongForm(WHOLE_NUMBER))
        }
        Kind::Bytes => {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            let text = value.as_str().map(str::to_owned).or_else(|| number.map(|number| number.to_string()));
            one(text).ok_or(WrongForm("a whole number, or a text such as \"256KiB\""))
        }
        Kind::List => {
            let text = |value: &toml::Value| value.as_str().map(str::to_owned);
            let texts = value.as_array().and_then(|values| values.iter().map(text).collect());
            texts.ok_or(WrongForm("an array of texts"))
        }
    };
    texts.map(|texts| (setting, Value::new(texts, origin))).map_err(|form| invalid(setting, origin, form))
}

fn invalid(setting: &Setting, origin: &str, form: WrongForm) -> ConfigError {
    ConfigError::Invalid { key: setting.name, origin: origin.to_owned(), source: Box::new(form) }
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
