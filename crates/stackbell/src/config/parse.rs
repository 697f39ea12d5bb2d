//! From texts to types, and the rules between settings.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stackbell_engine::outbound::Allowance;
use stackbell_keys::MasterKey;
use stackbell_model::names::{Login, OrganizationName};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::sections::{
    BootstrapSettings, LogFormat, LogSettings, OutboundSection, Raw, RetentionSettings, SecretText,
    ServerSettings, Settings, StorageSettings,
};
use super::{ConfigError, Found, parse_duration};

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
    #[error("PostgreSQL is not supported by this version: write sqlite:PATH")]
    Postgres,
    #[error("must be written sqlite:PATH")]
    Store,
    #[error("must not be empty")]
    Empty,
    #[error("{0:?} is not a host name: write it without scheme, port and path")]
    Host(String),
    #[error("must be auto, text or json")]
    LogFormat,
    #[error("must be at least 1")]
    Zero,
    #[error("must consist of visible ASCII characters, for it goes into a header")]
    TokenCharacters,
}

pub(super) fn settings(found: &Found) -> Result<Settings, ConfigError> {
    let raw: Raw = found.0.extract().map_err(|error| ConfigError::Layers(Box::new(error)))?;
    let parser = Parser { found };
    let settings = Settings {
        server: parser.server(&raw)?,
        storage: parser.storage(&raw)?,
        outbound: parser.outbound(&raw)?,
        master_key: parser.optional("master_key", raw.master_key.as_deref(), MasterKey::from_base64)?,
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
    check_tls(&settings.server, raw.allow_plain_http)?;
    Ok(settings)
}

/// Tokens must not cross a network in the clear unless somebody said that they may.
fn check_tls(server: &ServerSettings, allow_plain_http: bool) -> Result<(), ConfigError> {
    let is_https = server.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    if server.listen.ip().is_loopback() || is_https || allow_plain_http {
        return Ok(());
    }
    Err(ConfigError::Conflict(format!(
        "listen is {}, which other machines reach, and tokens would cross the network in the clear: put a proxy with TLS \
         in front and set public_url to its https address, or listen on 127.0.0.1, or set allow_plain_http",
        server.listen
    )))
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
        let invalid =
            |error: E| ConfigError::Invalid { key, origin: self.found.origin(key), source: Box::new(error) };
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

    fn server(&self, raw: &Raw) -> Result<ServerSettings, ConfigError> {
        Ok(ServerSettings {
            listen: self.one("listen", raw.listen.as_str(), listen)?,
            public_url: self.optional("public_url", raw.public_url.as_deref(), public_url)?,
            stop_timeout: self.one("stop_timeout", raw.stop_timeout.as_str(), parse_duration)?,
        })
    }

    fn storage(&self, raw: &Raw) -> Result<StorageSettings, ConfigError> {
        let data = self.one("data", raw.data.as_str(), path)?;
        let file = self.optional("store", raw.store.as_deref(), store)?;
        let file = file.unwrap_or_else(|| data.join(STORE_FILE));
        Ok(StorageSettings { data, file, expect_existing: raw.expect_existing })
    }

    fn outbound(&self, raw: &Raw) -> Result<OutboundSection, ConfigError> {
        let allowance = |text: &String| self.one("outbound_allow", text.as_str(), str::parse::<Allowance>);
        let slack_host = |text: &String| self.one("slack_hosts", text.as_str(), host);
        Ok(OutboundSection {
            allowances: raw.outbound_allow.iter().map(allowance).collect::<Result<_, _>>()?,
            ca_file: raw.outbound_ca_file.clone(),
            slack_hosts: raw.slack_hosts.iter().map(slack_host).collect::<Result<_, _>>()?,
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

fn store(text: &str) -> Result<PathBuf, ValueError> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(ValueError::Postgres);
    }
    match text.strip_prefix("sqlite:") {
        // A store without a name would be in memory, or be gone with its connection.
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Path::new(path).to_owned()),
        Some(_) | None => Err(ValueError::Store),
    }
}

fn host(text: &str) -> Result<String, ValueError> {
    let refused = || ValueError::Host(text.to_owned());
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| refused())?;
    let is_host = url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(text));
    if is_host { Ok(text.to_ascii_lowercase()) } else { Err(refused()) }
}

fn token(text: &str) -> Result<SecretText, ValueError> {
    if text.is_empty() {
        Err(ValueError::Empty)
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretText::new(text.to_owned()))
    } else {
        Err(ValueError::TokenCharacters)
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
