//! The parsed settings, by section.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use stackbell_engine::outbound::Allowance;
use stackbell_keys::MasterKey;
use stackbell_model::names::{Login, OrganizationName};
use stackbell_store::commit::Quota;
use stackbell_store_postgres::{DatabaseUrl, Pooling};
use stackbell_system::SecretText;
use url::Url;

use crate::key_command::KeyCommand;

/// All settings of a server.
#[derive(Debug)]
pub struct Settings {
    /// Addresses, public URL and TLS of the server.
    pub server: ServerSettings,
    /// The data folder and the store.
    pub storage: StorageSettings,
    /// The addresses that deliveries may go to.
    pub outbound: OutboundSection,
    /// The attempts of deliveries.
    pub delivery: DeliverySettings,
    /// The limits of requests and organizations.
    pub limits: LimitSettings,
    /// The source of the master key.
    pub keys: KeySettings,
    /// The first contents of an empty store.
    pub bootstrap: BootstrapSettings,
    /// The times that records are kept.
    pub retention: RetentionSettings,
    /// The log.
    pub logs: LogSettings,
}

/// Addresses, public URL and TLS of the server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address to serve. The system chooses a port for port 0.
    pub listen: SocketAddr,
    /// The URL for clients: `http` or `https`, with a host, without query and fragment.
    pub public_url: Option<Url>,
    /// The longest time that a stop waits for work in progress.
    pub stop_timeout: Duration,
    /// The certificate and its key; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The address for operations; `None` if they share `listen`.
    pub ops_listen: Option<SocketAddr>,
    /// Proxies whose headers about the client's address are trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// The PEM files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The data folder and the store.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// The data folder.
    pub data: PathBuf,
    /// The store.
    pub store: StoreSettings,
    /// Refuse an empty store.
    pub expect_existing: bool,
}

/// The store. `Display` shows its location without a password.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// A file that only this process uses.
    Embedded(EmbeddedSettings),
    /// A database that nodes share.
    Postgres(Box<DatabaseSettings>),
}

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// Its file.
    pub file: PathBuf,
}

/// A store on PostgreSQL.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// The database, with credentials.
    pub url: DatabaseUrl,
    /// The URL as it was written.
    pub text: SecretText,
    /// The most connections at once.
    pub connections_max: u32,
    /// The pooler in front of it.
    pub pooling: Pooling,
    /// A PEM file of authorities to trust in addition to the usual ones.
    pub ca_file: Option<PathBuf>,
}

impl EmbeddedSettings {
    /// The folder of its file.
    pub fn folder(&self) -> &Path {
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

/// The addresses that deliveries may go to.
#[derive(Clone, Debug)]
pub struct OutboundSection {
    /// Exceptions to the outbound policy.
    pub allowances: Vec<Allowance>,
    /// A PEM file of authorities to trust in addition to the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Hosts that webhooks of the format `slack` may use.
    pub slack_hosts: Vec<String>,
}

/// The attempts of deliveries.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// The longest exchange with an endpoint, from connect to last byte: 1 s to 25 s.
    pub exchange_time: Duration,
    /// The wait after each failed attempt; after the last attempt the delivery fails.
    pub retry_waits: Vec<Duration>,
    /// The most attempts in progress at once.
    pub in_flight_max: u32,
}

/// The limits of requests and organizations; each is a maximum.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Bytes of an event's payload.
    pub payload_bytes_max: usize,
    /// Bytes of a request's body; not less than those of a payload.
    pub request_bytes_max: usize,
    /// Events in one array.
    pub events_in_request_max: usize,
    /// Webhooks of one organization, stack or environment.
    pub webhooks_in_scope_max: u32,
    /// The quota of one organization.
    pub quota: Quota,
    /// Requests per second with one token; `None` for no limit.
    pub requests_per_second: Option<NonZeroU32>,
}

/// The source of the master key.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The current key.
    pub master: MasterKeySetting,
    /// The previous key.
    pub previous: Option<GivenKey>,
}

/// The source of the master key.
#[derive(Clone, Debug)]
pub enum MasterKeySetting {
    /// A file in the data folder.
    DataFolder,
    /// A variable or the configuration file. The key cannot change while the server runs.
    Given(GivenKey),
    /// A file, which can be read again.
    File {
        /// The key in the file when the settings were read.
        key: GivenKey,
        /// The file.
        path: PathBuf,
    },
    /// A command, which can be run again.
    Command(KeyCommand),
}

/// A master key and its origin.
#[derive(Clone, Debug)]
pub struct GivenKey {
    /// The key.
    pub key: MasterKey,
    /// The origin in words, for example `STACKBELL_MASTER_KEY`.
    pub origin: String,
}

/// The first contents of an empty store.
#[derive(Debug)]
pub struct BootstrapSettings {
    /// The organization; `None` if an empty store must not be bootstrapped.
    pub organization: Option<OrganizationName>,
    /// Its first user.
    pub user: Login,
    /// The user's token.
    pub token: Option<SecretText>,
}

/// The times that records are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionSettings {
    /// Finished deliveries.
    pub finished: Duration,
    /// The audit log.
    pub audit: Duration,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The format of a line.
    pub format: LogFormat,
    /// The filter of lines, a valid text for `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// The format of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}
