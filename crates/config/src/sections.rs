//! Settings, parsed: what the rest of the program is given.

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
    /// What clients see.
    pub server: ServerSettings,
    /// Where everything is kept.
    pub storage: StorageSettings,
    /// Where deliveries may go.
    pub outbound: OutboundSection,
    /// How deliveries are attempted.
    pub delivery: DeliverySettings,
    /// What others may ask of this server.
    pub limits: LimitSettings,
    /// Where the master key comes from.
    pub keys: KeySettings,
    /// What an empty store begins with.
    pub bootstrap: BootstrapSettings,
    /// How long things are kept.
    pub retention: RetentionSettings,
    /// What is logged, and how.
    pub logs: LogSettings,
}

/// What clients see.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to serve. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where clients reach it; `http` or `https`, with a host, without query and fragment.
    pub public_url: Option<Url>,
    /// How long a stop waits for what is under way.
    pub stop_timeout: Duration,
    /// What to serve TLS with; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where to serve operations; `None` for with everything else.
    pub ops_listen: Option<SocketAddr>,
    /// The proxies that are believed when they say where a request came from.
    pub trusted_proxies: Vec<IpNet>,
}

/// The PEM files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where everything is kept.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// The data folder.
    pub data: PathBuf,
    /// The store.
    pub store: StoreSettings,
    /// Whether an empty store is refused.
    pub expect_existing: bool,
}

/// Which store. Shown as where it is, without a password.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// A file of this process's own.
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
    /// Which database, and how to get in.
    pub url: DatabaseUrl,
    /// The same as it was written.
    pub text: SecretText,
    /// Connections at once.
    pub connections_max: u32,
    /// What stands before it.
    pub pooling: Pooling,
    /// Authorities that are trusted besides the usual ones.
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

/// Where deliveries may go.
#[derive(Clone, Debug)]
pub struct OutboundSection {
    /// Exceptions to the outbound policy.
    pub allowances: Vec<Allowance>,
    /// Authorities that are trusted besides the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Hosts that webhooks of the format `slack` may name.
    pub slack_hosts: Vec<String>,
}

/// How deliveries are attempted.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// For a whole exchange with an endpoint, from connect to last byte: 1 s to 25 s.
    pub exchange_time: Duration,
    /// The wait after each failed attempt; after the last of them the delivery fails.
    pub retry_waits: Vec<Duration>,
    /// Attempts under way at once.
    pub in_flight_max: u32,
}

/// What others may ask of this server: each the most that there may be.
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
    /// What one organization may keep.
    pub quota: Quota,
    /// Requests a second with one token; `None` for as many as come.
    pub requests_per_second: Option<NonZeroU32>,
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The key that is to hold.
    pub master: MasterKeySetting,
    /// The one before it.
    pub previous: Option<GivenKey>,
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub enum MasterKeySetting {
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
pub struct GivenKey {
    /// The key.
    pub key: MasterKey,
    /// Such as `STACKBELL_MASTER_KEY`.
    pub origin: String,
}

/// What an empty store begins with.
#[derive(Debug)]
pub struct BootstrapSettings {
    /// The organization; `None` when no store is to begin here.
    pub organization: Option<OrganizationName>,
    /// Its first user.
    pub user: Login,
    /// That user's token.
    pub token: Option<SecretText>,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionSettings {
    /// Finished deliveries.
    pub finished: Duration,
    /// The audit log.
    pub audit: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines there are, as `tracing_subscriber::EnvFilter` reads it; valid.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}
