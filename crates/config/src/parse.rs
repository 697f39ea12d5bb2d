//! From texts to types, and the rules between settings.
//!
//! - `limits`: numbers with a range, each with its reason
//! - `rules`: settings that need or rule out each other

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
    MasterKeySetting, OutboundSection, Raw, RetentionSettings, ServerSettings, Settings, StorageSettings,
    StoreSettings, TlsFiles,
};
use super::{ConfigError, Found};
use crate::key_command::{KeyCommand, KeyCommandError};

pub(crate) use rules::check_serving;

/// What an embedded store is written with.
pub(crate) const EMBEDDED_PREFIX: &str = "sqlite:";

/// What a store on PostgreSQL may be written with.
const POSTGRES_PREFIXES: [&str; 2] = ["postgres://", "postgresql://"];

/// What the file of the embedded store is called in the data folder.
const STORE_FILE: &str = "stackbell.db";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a value is none of its setting's. Never repeats the value where it may be a secret.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error("must be an IP address and a port, such as 127.0.0.1:8722 or [::]:8722")]
    Address,
    #[error("must be an http or https URL with a host, and without user, query and fragment")]
    PublicUrl,
    #[error("must be written sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Store,
    // Says itself that it is about the URL, and nothing of what is in it.
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
    #[error("must consist of visible ASCII characters, for it goes into a header")]
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
    let raw: Raw = found.figment.extract().map_err(|error| ConfigError::Layers(Box::new(error)))?;
    rules::check_raw(&raw)?;
    let parser = Parser { found };
    let settings = Settings {
        server: parser.server(&raw)?,
        storage: parser.storage(&raw)?,
        outbound: parser.outbound(&raw)?,
        delivery: parser.delivery(&raw)?,
        limits: parser.limits(&raw)?,
        keys: parser.keys(&raw)?,
        bootstrap: parser.bootstrap(&raw)?,
        retention: RetentionSettings {
            finished: parser.one("retention_days", &raw.retention_days, days)?,
            audit: parser.one("audit_retention_days", &raw.audit_retention_days, days)?,
        },
        logs: LogSettings {
            format: parser.one("log_format", raw.log_format.as_str(), log_format)?,
            filter: parser.one("log_level", raw.log_level.as_str(), log_filter)?,
        },
    };
    rules::check(&settings, raw.allow_plain_http)?;
    Ok(settings)
}

struct Parser<'a> {
    found: &'a Found,
}

impl Parser<'_> {
    fn one<I: ?Sized, T, E: Error + Send + Sync + 'static>(
        &self,
        key: &'static str,
        value: &I,
        parse: impl FnOnce(&I) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let invalid = |error: E| ConfigError::Invalid {
            key,
            origin: self.found.key_origin(key),
            source: Box::new(error),
        };
        parse(value).map_err(invalid)
    }

    fn optional<I: ?Sized, T, E: Error + Send + Sync + 'static>(
        &self,
        key: &'static str,
        value: Option<&I>,
        parse: impl FnOnce(&I) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        value.map(|value| self.one(key, value, parse)).transpose()
    }

    fn each<T, E: Error + Send + Sync + 'static>(
        &self,
        key: &'static str,
        values: &[String],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        values.iter().map(|value| self.one(key, value.as_str(), &parse)).collect()
    }

    fn server(&self, raw: &Raw) -> Result<ServerSettings, ConfigError> {
        Ok(ServerSettings {
            listen: self.one("listen", raw.listen.as_str(), listen)?,
            public_url: self.optional("public_url", raw.public_url.as_deref(), public_url)?,
            stop_timeout: self.one("stop_timeout", raw.stop_timeout.as_str(), parse_duration)?,
            tls: self.tls(raw)?,
            ops_listen: self.optional("ops_listen", raw.ops_listen.as_deref(), listen)?,
            trusted_proxies: self.each("trusted_proxy", &raw.trusted_proxy, network)?,
        })
    }

    fn tls(&self, raw: &Raw) -> Result<Option<TlsFiles>, ConfigError> {
        let certificate = self.optional("tls_cert", raw.tls_cert.as_deref(), path)?;
        let key = self.optional("tls_key", raw.tls_key.as_deref(), path)?;
        Ok(certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key }))
    }

    fn keys(&self, raw: &Raw) -> Result<KeySettings, ConfigError> {
        let master = self.given_key("master_key", raw.master_key.as_deref())?;
        let command = raw.master_key_command.as_deref();
        let command = self.optional("master_key_command", command, |text| -> Result<_, KeyCommandError> {
            KeyCommand::parse(text, Found::secret_variables())
        })?;
        let file = self.found.secret_files.get("master_key");
        Ok(KeySettings {
            master: match (master, command, file) {
                (None, None, _) => MasterKeySetting::DataFolder,
                (None, Some(command), _) => MasterKeySetting::Command(command),
                (Some(key), _, Some(path)) => MasterKeySetting::File { key, path: path.clone() },
                (Some(key), _, None) => MasterKeySetting::Given(key),
            },
            previous: self.given_key("previous_master_key", raw.previous_master_key.as_deref())?,
        })
    }

    fn given_key(&self, key: &'static str, text: Option<&str>) -> Result<Option<GivenKey>, ConfigError> {
        let parsed = self.optional(key, text, MasterKey::from_base64)?;
        Ok(parsed.map(|parsed| GivenKey { key: parsed, origin: self.found.key_origin(key) }))
    }

    fn storage(&self, raw: &Raw) -> Result<StorageSettings, ConfigError> {
        let data = self.one("data", raw.data.as_str(), path)?;
        let place = self.optional("store", raw.store.as_deref(), place)?;
        let store = match place.unwrap_or_else(|| Place::File(data.join(STORE_FILE))) {
            Place::File(file) => {
                rules::check_embedded(self.found)?;
                StoreSettings::Embedded(EmbeddedSettings { file })
            }
            Place::Database(url, text) => StoreSettings::Postgres(Box::new(DatabaseSettings {
                url: *url,
                text,
                connections_max: self.database_connections(raw)?,
                pooling: self.one("database_pooling", raw.database_pooling.as_str(), pooling)?,
                ca_file: raw.database_ca_file.clone(),
            })),
        };
        Ok(StorageSettings { data, store, expect_existing: raw.expect_existing })
    }

    fn outbound(&self, raw: &Raw) -> Result<OutboundSection, ConfigError> {
        Ok(OutboundSection {
            allowances: self.each("outbound_allow", &raw.outbound_allow, allowance)?,
            ca_file: raw.outbound_ca_file.clone(),
            slack_hosts: self.each("slack_hosts", &raw.slack_hosts, host)?,
        })
    }

    fn bootstrap(&self, raw: &Raw) -> Result<BootstrapSettings, ConfigError> {
        Ok(BootstrapSettings {
            organization: self.optional(
                "bootstrap_org",
                raw.bootstrap_org.as_deref(),
                OrganizationName::parse,
            )?,
            user: self.one("bootstrap_user", raw.bootstrap_user.as_str(), Login::parse)?,
            token: self.optional("bootstrap_token", raw.bootstrap_token.as_deref(), token)?,
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

/// Where a store is.
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
        // A store without a name would be in memory, or be gone with its connection.
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

/// The fewest characters of a bootstrap token: 128 bits even if it is hex. No address is exempt, as the token goes on working
/// when the server is later reached by others.
const TOKEN_CHARACTERS_MIN: usize = 32;

fn allowance(text: &str) -> Result<Allowance, ValueError> {
    // An @ begins an organization, but in a URL it ends a password.
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

fn days(number: &u32) -> Result<Duration, ValueError> {
    if *number == 0 { Err(ValueError::Zero) } else { Ok(DAY * *number) }
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
