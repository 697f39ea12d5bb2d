//! Settings, parsed: what the rest of the program is given.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use stackbell_engine::outbound::Allowance;
use stackbell_keys::MasterKey;
use stackbell_model::names::{Login, OrganizationName};
use url::Url;
use zeroize::Zeroizing;

/// All settings of a server.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What clients see.
    pub(crate) server: ServerSettings,
    /// Where everything is kept.
    pub(crate) storage: StorageSettings,
    /// Where deliveries may go.
    pub(crate) outbound: OutboundSection,
    /// The master key; `None` for the one in the data folder.
    pub(crate) master_key: Option<MasterKey>,
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
}

/// Where everything is kept.
#[derive(Clone, Debug)]
pub(crate) struct StorageSettings {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The embedded store's file.
    pub(crate) file: PathBuf,
    /// Whether an empty store is refused.
    pub(crate) expect_existing: bool,
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

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// The settings as their layers have them: names and forms are right, meanings are not looked at.
#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) listen: String,
    pub(super) data: String,
    pub(super) store: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) allow_plain_http: bool,
    pub(super) outbound_allow: Vec<String>,
    pub(super) outbound_ca_file: Option<PathBuf>,
    pub(super) slack_hosts: Vec<String>,
    pub(super) master_key: Option<String>,
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
