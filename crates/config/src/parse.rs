//! Parses texts into types, and checks the rules between settings.
//!
//! - `limits`: numbers with a range, each with its reason
//! - `rules`: settings that need or exclude each other

mod limits;
mod rules;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use stackbell_engine::outbound::Allowance;
use stackbell_keys::MasterKey;
use stackbell_model::names::{Login, OrganizationName};
use stackbell_store_postgres::{DatabaseUrl, OpenError, Pooling};
use stackbell_system::{SecretText, parse_duration, redacted, redacted_url};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::sections::{
    BootstrapSettings, DatabaseSettings, EmbeddedSettings, GivenKey, KeySettings, LogFormat, LogSettings,
    MasterKeySetting, OutboundSection, RetentionSettings, ServerSettings, Settings, StorageSettings,
    StoreSettings, TlsFiles,
};
use super::{ConfigError, Found};
use crate::definitions::{
    ALLOW_PLAIN_HTTP, AUDIT_RETENTION_DAYS, BOOTSTRAP_ORG, BOOTSTRAP_TOKEN, BOOTSTRAP_USER, DATA,
    DATABASE_CA_FILE, DATABASE_POOLING, EXPECT_EXISTING, LISTEN, LOG_FORMAT, LOG_LEVEL, MASTER_KEY,
    MASTER_KEY_COMMAND, OPS_LISTEN, OUTBOUND_ALLOW, OUTBOUND_CA_FILE, PREVIOUS_MASTER_KEY, PUBLIC_URL,
    RETENTION_DAYS, SLACK_HOSTS, STOP_TIMEOUT, STORE, Setting, TLS_CERT, TLS_KEY, TRUSTED_PROXY,
};
use crate::key_command::{KeyCommand, KeyCommandError};

pub(crate) use rules::check_serving;

/// The prefix of an embedded store.
pub(crate) const EMBEDDED_PREFIX: &str = "sqlite:";

/// The prefixes of a store on PostgreSQL.
const POSTGRES_PREFIXES: [&str; 2] = ["postgres://", "postgresql://"];

/// The file of the embedded store in the data folder.
const STORE_FILE: &str = "stackbell.db";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A value that is not valid for its setting. The error does not repeat a value that may be a secret.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error("must be an IP address and a port, such as 127.0.0.1:8722 or [::]:8722")]
    Address,
    #[error("must be an http or https URL with a host, and without user, query and fragment")]
    PublicUrl,
    #[error("must be written sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Store,
    // The message is that of the inner error, which repeats no part of the URL.
    #[error(transparent)]
    DatabaseUrl(OpenError),
    #[error("must be session or transaction")]
    Pooling,
    #[error("must not be empty")]
    Empty,
    #[error("'{}' is not a host name: write it without scheme and path, and with a port only if that is not 443", redacted_url(.0))]
    Host(String),
    #[error("must be auto, text or json")]
    LogFormat,
    #[error("must be at least 1")]
    Zero,
    #[error("must consist of visible ASCII characters, because it is sent in a header")]
    TokenCharacters,
    #[error(
        "must be at least {TOKEN_CHARACTERS_MIN} characters long: `openssl rand -hex 32` prints one, and a store that is in \
         use needs none"
    )]
    TokenTooShort,
    #[error("'{}' is not a network: write an IP address, or one with a prefix length, such as 10.0.0.0/8", redacted(.0))]
    Network(String),
    #[error("'{}' is not a network; an allowance is written CIDR[:PORT][@ORG], such as 10.0.0.0/8:443@acme", redacted(.0))]
    AllowanceUrl(String),
    #[error(transparent)]
    Allowance(<Allowance as FromStr>::Err),
    #[error("the address is not the first of its network: write {0}, or the whole address alone")]
    HostBits(IpNet),
}

pub(crate) fn settings(found: &Found) -> Result<Settings, ConfigError> {
    rules::check_presence(found)?;
    let parser = Parser { found };
    let settings = Settings {
        server: parser.server()?,
        storage: parser.storage()?,
        outbound: parser.outbound()?,
        delivery: parser.delivery()?,
        limits: parser.limits()?,
        keys: parser.keys()?,
        bootstrap: parser.bootstrap()?,
        retention: RetentionSettings {
            finished: parser.one(&RETENTION_DAYS, days)?,
            audit: parser.one(&AUDIT_RETENTION_DAYS, days)?,
        },
        logs: LogSettings {
            format: parser.one(&LOG_FORMAT, log_format)?,
            filter: parser.one(&LOG_LEVEL, log_filter)?,
        },
    };
    rules::check(&settings, parser.switch(&ALLOW_PLAIN_HTTP))?;
    Ok(settings)
}

struct Parser<'a> {
    found: &'a Found,
}

impl Parser<'_> {
    /// The value of a setting that has a default.
    fn one<T, E: Error + Send + Sync + 'static>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        Ok(self.optional(setting, parse)?.expect("a setting with a default"))
    }

    fn optional<T, E: Error + Send + Sync + 'static>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.found.value(setting);
        value.map(|value| parse(value.text())).transpose().map_err(|error| self.invalid(setting, error))
    }

    fn each<T, E: Error + Send + Sync + 'static>(
        &self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        self.list(setting, |texts| texts.iter().map(|text| parse(text)).collect())
    }

    fn list<T, E: Error + Send + Sync + 'static>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&[String]) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let texts = self.found.value(setting).map_or(&[][..], |value| &value.texts);
        parse(texts).map_err(|error| self.invalid(setting, error))
    }

    fn switch(&self, setting: &Setting) -> bool {
        self.found.value(setting).is_some_and(|value| value.text() == "true")
    }

    /// The path in a setting. Any text is valid.
    fn file(&self, setting: &Setting) -> Option<PathBuf> {
        self.found.value(setting).map(|value| PathBuf::from(value.text()))
    }

    fn invalid(&self, setting: &Setting, error: impl Error + Send + Sync + 'static) -> ConfigError {
        let origin = self.found.origin(setting);
        ConfigError::Invalid { key: setting.name, origin, source: Box::new(error) }
    }

    fn server(&self) -> Result<ServerSettings, ConfigError> {
        Ok(ServerSettings {
            listen: self.one(&LISTEN, listen)?,
            public_url: self.optional(&PUBLIC_URL, public_url)?,
            stop_timeout: self.one(&STOP_TIMEOUT, parse_duration)?,
            tls: self.tls()?,
            ops_listen: self.optional(&OPS_LISTEN, listen)?,
            trusted_proxies: self.each(&TRUSTED_PROXY, network)?,
        })
    }

    fn tls(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let certificate = self.optional(&TLS_CERT, path)?;
        let key = self.optional(&TLS_KEY, path)?;
        Ok(certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key }))
    }

    fn keys(&self) -> Result<KeySettings, ConfigError> {
        let master = self.given_key(&MASTER_KEY)?;
        let command = self.optional(&MASTER_KEY_COMMAND, |text| -> Result<_, KeyCommandError> {
            KeyCommand::parse(text, Found::secret_variables())
        })?;
        let file = self.found.value(&MASTER_KEY).and_then(|value| value.file.clone());
        Ok(KeySettings {
            master: match (master, command, file) {
                (None, None, _) => MasterKeySetting::DataFolder,
                (None, Some(command), _) => MasterKeySetting::Command(command),
                (Some(key), _, Some(path)) => MasterKeySetting::File { key, path },
                (Some(key), _, None) => MasterKeySetting::Given(key),
            },
            previous: self.given_key(&PREVIOUS_MASTER_KEY)?,
        })
    }

    fn given_key(&self, setting: &Setting) -> Result<Option<GivenKey>, ConfigError> {
        let key = self.optional(setting, MasterKey::from_base64)?;
        Ok(key.map(|key| GivenKey { key, origin: self.found.origin(setting) }))
    }

    fn storage(&self) -> Result<StorageSettings, ConfigError> {
        let data = self.one(&DATA, path)?;
        let place = self.optional(&STORE, place)?;
        let store = match place.unwrap_or_else(|| Place::File(data.join(STORE_FILE))) {
            Place::File(file) => {
                rules::check_embedded(self.found)?;
                StoreSettings::Embedded(EmbeddedSettings { file })
            }
            Place::Database(url, text) => StoreSettings::Postgres(Box::new(DatabaseSettings {
                url: *url,
                text,
                connections_max: self.database_connections()?,
                pooling: self.one(&DATABASE_POOLING, pooling)?,
                ca_file: self.file(&DATABASE_CA_FILE),
            })),
        };
        Ok(StorageSettings { data, store, expect_existing: self.switch(&EXPECT_EXISTING) })
    }

    fn outbound(&self) -> Result<OutboundSection, ConfigError> {
        Ok(OutboundSection {
            allowances: self.each(&OUTBOUND_ALLOW, allowance)?,
            ca_file: self.file(&OUTBOUND_CA_FILE),
            slack_hosts: self.each(&SLACK_HOSTS, host)?,
        })
    }

    fn bootstrap(&self) -> Result<BootstrapSettings, ConfigError> {
        Ok(BootstrapSettings {
            organization: self.optional(&BOOTSTRAP_ORG, OrganizationName::parse)?,
            user: self.one(&BOOTSTRAP_USER, Login::parse)?,
            token: self.optional(&BOOTSTRAP_TOKEN, token)?,
        })
    }
}

fn listen(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| ValueError::Address)
}

fn public_url(text: &str) -> Result<Url, ValueError> {
    let url = Url::parse(text).map_err(|_| ValueError::PublicUrl)?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let is_ours = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_ours && is_bare { Ok(url) } else { Err(ValueError::PublicUrl) }
}

fn path(text: &str) -> Result<PathBuf, ValueError> {
    if text.is_empty() { Err(ValueError::Empty) } else { Ok(PathBuf::from(text)) }
}

/// The place of a store.
enum Place {
    File(PathBuf),
    Database(Box<DatabaseUrl>, SecretText),
}

fn place(text: &str) -> Result<Place, ValueError> {
    if POSTGRES_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        let url = text.parse().map_err(ValueError::DatabaseUrl)?;
        return Ok(Place::Database(Box::new(url), SecretText::new(text.to_owned())));
    }
    match text.strip_prefix(EMBEDDED_PREFIX) {
        // SQLite would keep a store without a name in memory, or delete it when its connection closes.
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Place::File(PathBuf::from(path))),
        Some(_) | None => Err(ValueError::Store),
    }
}

fn pooling(text: &str) -> Result<Pooling, ValueError> {
    match text {
        "session" => Ok(Pooling::Session),
        "transaction" => Ok(Pooling::Transaction),
        _ => Err(ValueError::Pooling),
    }
}

fn host(text: &str) -> Result<String, ValueError> {
    let refused = || ValueError::Host(text.to_owned());
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| refused())?;
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let is_host = !authority.is_empty() && authority.eq_ignore_ascii_case(text);
    if is_host { Ok(text.to_ascii_lowercase()) } else { Err(refused()) }
}

fn network(text: &str) -> Result<IpNet, ValueError> {
    let refused = || ValueError::Network(text.to_owned());
    let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address(text)).map_err(|_| refused())?;
    if network.trunc() == network { Ok(network) } else { Err(ValueError::HostBits(network.trunc())) }
}

/// The minimum length of a bootstrap token in characters. Even in hex these are 128 bits. The minimum also applies on loopback,
/// because the token stays valid if the server becomes reachable for others later.
const TOKEN_CHARACTERS_MIN: usize = 32;

fn allowance(text: &str) -> Result<Allowance, ValueError> {
    // An @ begins an organization in an allowance, but ends a password in a URL.
    if text.contains("://") {
        return Err(ValueError::AllowanceUrl(text.to_owned()));
    }
    text.parse().map_err(ValueError::Allowance)
}

fn token(text: &str) -> Result<SecretText, ValueError> {
    if text.is_empty() {
        Err(ValueError::Empty)
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(ValueError::TokenCharacters)
    } else if text.len() < TOKEN_CHARACTERS_MIN {
        Err(ValueError::TokenTooShort)
    } else {
        Ok(SecretText::new(text.to_owned()))
    }
}

fn days(text: &str) -> Result<Duration, ValueError> {
    match number(text) {
        0 => Err(ValueError::Zero),
        days => Ok(DAY * days),
    }
}

/// The number in the text of a numeric setting.
fn number(text: &str) -> u32 {
    text.parse().expect("layers accept whole numbers alone")
}

fn log_format(text: &str) -> Result<LogFormat, ValueError> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::LogFormat),
    }
}

fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned())
}
