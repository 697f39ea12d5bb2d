//! The settings that there are: one table, from which flags, variables, file keys and the sample's test are made.

use stackbell_system::VARIABLE_PREFIX;

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, parsed further by the section that it belongs to.
    Text,
    /// A text that is never shown. It may also be in a file, which the setting's name with `_file` behind it names.
    Secret,
    /// A text that may hold a password, of which only where it leads to is shown. As a secret it may also be in a file; its
    /// flag is the text itself all the same, since mostly it holds none.
    Place,
    /// On or off.
    Switch,
    /// A whole number.
    Number,
    /// A number of bytes: a whole number, or one with a unit such as `256KiB`.
    Bytes,
    /// Several texts: a flag is repeated or has commas, a variable has commas, the file an array.
    List,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file. With `-` for `_` its flag; in capitals and after `STACKBELL_` its variable.
    pub(crate) name: &'static str,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// What stands for the value in the help.
    pub(crate) value_name: &'static str,
    /// What it does, for the help.
    pub(crate) help: &'static str,
}

/// All of them, as help and `config check` list them.
pub(crate) const KEYS: &[Key] = &[
    key("listen", Kind::Text, "ADDRESS:PORT", "Where to serve [default: 127.0.0.1:8722]"),
    key(
        "ops_listen",
        Kind::Text,
        "ADDRESS:PORT",
        "Where to serve /healthz, /readyz, /metrics and /openapi.json, without TLS [default: with everything else]",
    ),
    key(
        "data",
        Kind::Text,
        "DIR",
        "The data folder, which one process uses at a time [default: stackbell-data]",
    ),
    key(
        "store",
        Kind::Place,
        "STORE",
        "The store: sqlite:PATH, or postgres://USER@HOST/DATABASE. A URL with a password belongs into the file that STACKBELL_STORE_FILE names, as others on the machine can read flags [default: stackbell.db in the data folder]",
    ),
    key(
        "database_connections",
        Kind::Number,
        "CONNECTIONS",
        "Connections of this server to a PostgreSQL store at once [default: 16]",
    ),
    key(
        "database_pooling",
        Kind::Text,
        "HOW",
        "What stands before a PostgreSQL store: session (nothing, or a pooler that keeps connections ours) or transaction (a pooler that gives another connection to each transaction) [default: session]",
    ),
    key(
        "database_ca_file",
        Kind::Text,
        "FILE",
        "PEM file of authorities to trust for a PostgreSQL store besides the usual ones",
    ),
    key("public_url", Kind::Text, "URL", "Where clients reach this server: what links are built from"),
    key(
        "tls_cert",
        Kind::Text,
        "FILE",
        "PEM file with the certificate to serve TLS with, and those between it and its authority",
    ),
    key("tls_key", Kind::Text, "FILE", "PEM file with the private key of tls_cert"),
    key(
        "trusted_proxy",
        Kind::List,
        "CIDR",
        "A network of proxies whose X-Forwarded-For or Forwarded is believed (repeatable)",
    ),
    key(
        "allow_plain_http",
        Kind::Switch,
        "BOOL",
        "Serve without TLS on an address that other machines reach, where tokens can be read on the way",
    ),
    key(
        "outbound_allow",
        Kind::List,
        "CIDR[:PORT][@ORG]",
        "A network that deliveries may go to although it is not public (repeatable)",
    ),
    key(
        "outbound_ca_file",
        Kind::Text,
        "FILE",
        "PEM file of authorities to trust for endpoints besides the usual ones",
    ),
    key(
        "slack_hosts",
        Kind::List,
        "HOST",
        "A host, with its port unless that is 443, that webhooks of the format slack may name (repeatable) [default: hooks.slack.com]",
    ),
    key(
        "exchange_timeout",
        Kind::Text,
        "DURATION",
        "How long an attempt may take, from connect to last byte [default: 15s]",
    ),
    key(
        "retry_schedule",
        Kind::List,
        "DURATION",
        "The waits between a delivery's attempts (repeatable) [default: 5s to 12h, over 75 hours]",
    ),
    key(
        "in_flight_max",
        Kind::Number,
        "ATTEMPTS",
        "Attempts under way at once, of which one organization has a quarter at most [default: 1024]",
    ),
    key("payload_bytes_max", Kind::Bytes, "BYTES", "The size of an event's payload [default: 256KiB]"),
    key("request_bytes_max", Kind::Bytes, "BYTES", "The size of a request's body [default: 4MiB]"),
    key("events_in_request_max", Kind::Number, "EVENTS", "Events in one array [default: 1000]"),
    key(
        "webhooks_in_scope_max",
        Kind::Number,
        "WEBHOOKS",
        "Webhooks of one organization, stack or environment [default: 1000]",
    ),
    key(
        "pending_deliveries_max",
        Kind::Number,
        "DELIVERIES",
        "Pending deliveries of one organization [default: 1000000]",
    ),
    key("stored_bytes_max", Kind::Bytes, "BYTES", "What is stored for one organization [default: 20GiB]"),
    key(
        "requests_per_second",
        Kind::Number,
        "REQUESTS",
        "Requests a second with one token, and twice that at once; 0 is no limit [default: 1000]",
    ),
    key(
        "master_key",
        Kind::Secret,
        "BASE64",
        "The master key: 32 bytes in base64 [default: master.key in the data folder]",
    ),
    key(
        "master_key_command",
        Kind::Text,
        "COMMAND",
        "A command that prints the master key; it is run without a shell",
    ),
    key(
        "previous_master_key",
        Kind::Secret,
        "BASE64",
        "The master key before this one: what it sealed is sealed anew at the start",
    ),
    key("bootstrap_org", Kind::Text, "NAME", "On an empty store: the organization to begin with"),
    key("bootstrap_user", Kind::Text, "LOGIN", "On an empty store: its first user [default: admin]"),
    key(
        "bootstrap_token",
        Kind::Secret,
        "TOKEN",
        "On an empty store: that user's token, at least 32 characters",
    ),
    key("expect_existing", Kind::Switch, "BOOL", "Refuse an empty store, as when a volume was not mounted"),
    key("stop_timeout", Kind::Text, "DURATION", "How long a stop waits for what is under way [default: 20s]"),
    key("retention_days", Kind::Number, "DAYS", "How long finished deliveries are kept [default: 30]"),
    key("audit_retention_days", Kind::Number, "DAYS", "How long the audit log is kept [default: 365]"),
    key(
        "log_format",
        Kind::Text,
        "FORMAT",
        "auto (text on a terminal, else json), text or json [default: auto]",
    ),
    key(
        "log_level",
        Kind::Text,
        "LEVEL",
        "error, warn, info, debug, trace, or directives such as info,stackbell_engine=debug [default: info]",
    ),
];

/// Variables that are not settings of the server: those of client verbs, and where the file is.
pub(crate) const OTHER_VARIABLES: &[&str] = &[
    "STACKBELL_CONFIG",
    "STACKBELL_URL",
    "STACKBELL_TOKEN",
    "STACKBELL_TOKEN_FILE",
    "STACKBELL_CA_FILE",
    "STACKBELL_WEBHOOK_SECRET",
];

const fn key(name: &'static str, kind: Kind, value_name: &'static str, help: &'static str) -> Key {
    Key { name, kind, value_name, help }
}

impl Key {
    /// Its variable. `log_level` has `STACKBELL_LOG`, as programs that log usually do.
    pub(crate) fn variable(&self) -> String {
        match self.name {
            "log_level" => format!("{VARIABLE_PREFIX}LOG"),
            name => format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase()),
        }
    }

    /// Its flag, without dashes. A secret has none, as flags show in process lists: its flag names a file.
    pub(crate) fn flag(&self) -> String {
        let name = self.name.replace('_', "-");
        if self.kind == Kind::Secret { format!("{name}-file") } else { name }
    }

    /// Whether others are not to see its value.
    pub(crate) fn may_hold_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Place)
    }

    /// The name of the setting that names a file with this secret.
    pub(crate) fn file_name(&self) -> Option<String> {
        self.may_hold_secret().then(|| format!("{}_file", self.name))
    }
}

/// The one of `known` that is most like `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let likeness = |other: &&str| strsim::jaro_winkler(name, other);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> &'static Key {
        KEYS.iter().find(|key| key.name == name).expect("a key")
    }

    #[test]
    fn names_of_flags_and_variables() {
        assert_eq!(find("public_url").flag(), "public-url");
        assert_eq!(find("public_url").variable(), "STACKBELL_PUBLIC_URL");
        assert_eq!(find("log_level").variable(), "STACKBELL_LOG");
        assert_eq!(find("master_key").flag(), "master-key-file");
        assert_eq!(find("master_key").file_name().as_deref(), Some("master_key_file"));
        assert_eq!(find("store").flag(), "store");
        assert_eq!(find("store").file_name().as_deref(), Some("store_file"));
        assert_eq!(find("database_ca_file").file_name(), None);
    }

    #[test]
    fn the_nearest_name() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("lisen", names()), "listen");
        assert_eq!(nearest("stop_time_out", names()), "stop_timeout");
        assert_eq!(nearest("outbound-allow", names()), "outbound_allow");
    }
}
