//! Settings, parsed: what the rest of the program is given.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use stackbell_engine::outbound::Allowance;
use stackbell_keys::MasterKey;
use stackbell_model::names::{Login, OrganizationName};
use stackbell_store::commit::Quota;
use stackbell_store_postgres::{DatabaseUrl, Pooling};
use url::Url;
use zeroize::Zeroizing;

use crate::keyring::KeyCommand;

/// All settings of a server.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What clients see.
    pub(crate) server: ServerSettings,
    /// Where everything is kept.
    pub(crate) storage: StorageSettings,
    /// Where deliveries may go.
    pub(crate) outbound: OutboundSection,
    /// How deliveries are attempted.
    pub(crate) delivery: DeliverySettings,
    /// What others may ask of this server.
    pub(crate) limits: LimitSettings,
    /// Where the master key comes from.
    pub(crate) keys: KeySettings,
    /// What an empty store begins with.
    pub(crate) bootstrap: BootstrapSettings,
    /// How long things are kept.
    pub(crate) retention: RetentionSettings,
    /// What is logged, and how.
    pub(crate) logs: LogSettings,
}

/// What clients see.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    /// Where to serve. Port 0 lets the system choose.
    pub(crate) listen: SocketAddr,
    /// Where clients reach it; `http` or `https`, with a host, without query and fragment.
    pub(crate) public_url: Option<Url>,
    /// How long a stop waits for what is under way.
    pub(crate) stop_timeout: Duration,
    /// What to serve TLS with; `None` for plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    /// Where to serve operations; `None` for with everything else.
    pub(crate) ops_listen: Option<SocketAddr>,
    /// The proxies that are believed when they say where a request came from.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

#[cfg(test)]
impl ServerSettings {
    /// A server at an address, with what nobody set for all else.
    pub(crate) fn at(listen: &str, public_url: Option<Url>) -> Self {
        Self {
            listen: listen.parse().expect("an address"),
            public_url,
            stop_timeout: Duration::ZERO,
            tls: None,
            ops_listen: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// The PEM files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Where everything is kept.
#[derive(Clone, Debug)]
pub(crate) struct StorageSettings {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The store.
    pub(crate) store: StoreSettings,
    /// Whether an empty store is refused.
    pub(crate) expect_existing: bool,
}

/// Which store. Shown as where it is, without a password.
#[derive(Clone, Debug)]
pub(crate) enum StoreSettings {
    /// A file of this process's own.
    Embedded(EmbeddedSettings),
    /// A database that nodes share.
    Postgres(Box<DatabaseSettings>),
}

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmbeddedSettings {
    /// Its file.
    pub(crate) file: PathBuf,
}

/// A store on PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseSettings {
    /// Which database, and how to get in.
    pub(crate) url: DatabaseUrl,
    /// The same as it was written.
    pub(crate) text: SecretText,
    /// Connections at once.
    pub(crate) connections_max: u32,
    /// What stands before it.
    pub(crate) pooling: Pooling,
    /// Authorities that are trusted besides the usual ones.
    pub(crate) ca_file: Option<PathBuf>,
}

impl EmbeddedSettings {
    /// The folder of its file.
    pub(crate) fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        }
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(embedded) => write!(f, "{}", embedded.file.display()),
            Self::Postgres(database) => f.write_str(&database.url.label()),
        }
    }
}

/// Where deliveries may go.
#[derive(Clone, Debug)]
pub(crate) struct OutboundSection {
    /// Exceptions to the outbound policy.
    pub(crate) allowances: Vec<Allowance>,
    /// Authorities that are trusted besides the usual ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// Hosts that webhooks of the format `slack` may name.
    pub(crate) slack_hosts: Vec<String>,
}

/// How deliveries are attempted.
#[derive(Clone, Debug)]
pub(crate) struct DeliverySettings {
    /// For a whole exchange with an endpoint, from connect to last byte: 1 s to 25 s.
    pub(crate) exchange_time: Duration,
    /// The wait after each failed attempt; after the last of them the delivery fails.
    pub(crate) retry_waits: Vec<Duration>,
    /// Attempts under way at once.
    pub(crate) in_flight_max: u32,
}

/// What others may ask of this server: each the most that there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitSettings {
    /// Bytes of an event's payload.
    pub(crate) payload_bytes_max: usize,
    /// Bytes of a request's body; not less than those of a payload.
    pub(crate) request_bytes_max: usize,
    /// Events in one array.
    pub(crate) events_in_request_max: usize,
    /// Webhooks of one organization, stack or environment.
    pub(crate) webhooks_in_scope_max: u32,
    /// What one organization may keep.
    pub(crate) quota: Quota,
    /// Requests a second with one token; `None` for as many as come.
    pub(crate) requests_per_second: Option<NonZeroU32>,
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    /// The key that is to hold.
    pub(crate) master: MasterKeySetting,
    /// The one before it.
    pub(crate) previous: Option<GivenKey>,
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub(crate) enum MasterKeySetting {
    /// The data folder's own file.
    DataFolder,
    /// A variable, or the configuration file: it cannot change while we run.
    Given(GivenKey),
    /// A file, from which it can be read again.
    File {
        /// What it held when the settings were read.
        key: GivenKey,
        /// The file.
        path: PathBuf,
    },
    /// A command, which can be run again.
    Command(KeyCommand),
}

/// A master key, and in words for people where it is from.
#[derive(Clone, Debug)]
pub(crate) struct GivenKey {
    /// The key.
    pub(crate) key: MasterKey,
    /// Such as `STACKBELL_MASTER_KEY`.
    pub(crate) origin: String,
}

/// What an empty store begins with.
#[derive(Debug)]
pub(crate) struct BootstrapSettings {
    /// The organization; `None` when no store is to begin here.
    pub(crate) organization: Option<OrganizationName>,
    /// Its first user.
    pub(crate) user: Login,
    /// That user's token.
    pub(crate) token: Option<SecretText>,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetentionSettings {
    /// Finished deliveries.
    pub(crate) finished: Duration,
    /// The audit log.
    pub(crate) audit: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// How a line looks.
    pub(crate) format: LogFormat,
    /// Which lines there are, as `tracing_subscriber::EnvFilter` reads it; valid.
    pub(crate) filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// A secret text. Hides in `Debug`, and is wiped when dropped.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a secret.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// The settings as their layers have them: names and forms are right, meanings are not looked at.
#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) listen: String,
    pub(super) ops_listen: Option<String>,
    pub(super) data: String,
    pub(super) store: Option<String>,
    pub(super) database_connections: u32,
    pub(super) database_pooling: String,
    pub(super) database_ca_file: Option<PathBuf>,
    pub(super) public_url: Option<String>,
    pub(super) tls_cert: Option<String>,
    pub(super) tls_key: Option<String>,
    pub(super) trusted_proxy: Vec<String>,
    pub(super) allow_plain_http: bool,
    pub(super) outbound_allow: Vec<String>,
    pub(super) outbound_ca_file: Option<PathBuf>,
    pub(super) slack_hosts: Vec<String>,
    pub(super) exchange_timeout: String,
    pub(super) retry_schedule: Vec<String>,
    pub(super) in_flight_max: u32,
    pub(super) payload_bytes_max: String,
    pub(super) request_bytes_max: String,
    pub(super) events_in_request_max: u32,
    pub(super) webhooks_in_scope_max: u32,
    pub(super) pending_deliveries_max: u32,
    pub(super) stored_bytes_max: String,
    pub(super) requests_per_second: u32,
    pub(super) master_key: Option<String>,
    pub(super) master_key_command: Option<String>,
    pub(super) previous_master_key: Option<String>,
    pub(super) bootstrap_org: Option<String>,
    pub(super) bootstrap_user: String,
    pub(super) bootstrap_token: Option<String>,
    pub(super) expect_existing: bool,
    pub(super) stop_timeout: String,
    pub(super) retention_days: u32,
    pub(super) audit_retention_days: u32,
    pub(super) log_format: String,
    pub(super) log_level: String,
}
