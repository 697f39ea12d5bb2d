//! The table of all settings. Each is defined here once: name, form, help and default. Flags, variables, keys of the file,
//! the report of `config check` and the help are made from this table.

use stackbell_model::retry::RetryPolicy;
use stackbell_system::{VARIABLE_PREFIX, duration_text};

/// The address that a server listens on by default.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8722";

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, which its section parses further.
    Text,
    /// A text that is never shown. It may also be in a file. The setting with the file's path has the same name with `_file` at
    /// the end.
    Secret,
    /// A URL or path that may hold a password. The report shows it without the password. It may be in a file, like a secret. Its
    /// flag contains the text itself, because most values have no password.
    Place,
    /// On or off; off by default.
    Switch,
    /// A whole number.
    Number,
    /// A number of bytes: a whole number, or one with a unit such as `256KiB`.
    Bytes,
    /// Several texts; none by default. A flag is repeated or has commas, a variable has commas, the file has an array.
    List,
}

/// The value of a setting that is not set.
#[derive(Clone, Copy, Debug)]
enum Fallback {
    /// No value: a switch is off, and a list is empty.
    None,
    /// No value; the help says what that means.
    Means(&'static str),
    /// This text, in the form of a flag's value.
    Text(&'static str),
    /// The result of this function, in the form of a flag's value; the second field describes it in the help.
    Made(fn() -> String, &'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its key in the file. The flag has `-` in place of `_`; the variable is in capitals and begins with `STACKBELL_`.
    pub(crate) name: &'static str,
    /// The form of its value.
    pub(crate) kind: Kind,
    /// The placeholder of the value in the help.
    pub(crate) value_name: &'static str,
    /// The effect, for the help.
    text: &'static str,
    fallback: Fallback,
}

/// Defines settings: a constant for each, and the table of all.
macro_rules! settings {
    ($($constant:ident: $setting:expr,)*) => {
        $(pub(crate) const $constant: Setting = $setting;)*

        /// All settings, in the order of the help and of `config check`.
        pub(crate) const SETTINGS: &[Setting] = &[$($constant),*];
    };
}

settings! {
    LISTEN: text("listen", "ADDRESS:PORT", "Where to serve").or(LISTEN_DEFAULT),
    OPS_LISTEN: text(
        "ops_listen",
        "ADDRESS:PORT",
        "Where to serve /healthz, /readyz, /metrics and /openapi.json, without TLS",
    ).unset_means("with everything else"),
    DATA: text("data", "DIR", "The data folder, which one process uses at a time").or("stackbell-data"),
    STORE: place(
        "store",
        "STORE",
        "The store: sqlite:PATH, or postgres://USER@HOST/DATABASE. A URL with a password belongs in the file that STACKBELL_STORE_FILE names, because other users of the machine can read flags",
    ).unset_means("stackbell.db in the data folder"),
    // A few nodes with 16 each stay within the 100 connections that PostgreSQL has by default.
    DATABASE_CONNECTIONS: number(
        "database_connections",
        "CONNECTIONS",
        "Connections of this server to a PostgreSQL store at once",
    ).or("16"),
    DATABASE_POOLING: text(
        "database_pooling",
        "HOW",
        "The pooler before a PostgreSQL store: session (none, or one that keeps connections for the session) or transaction (one that gives each transaction another connection)",
    ).or("session"),
    DATABASE_CA_FILE: text(
        "database_ca_file",
        "FILE",
        "PEM file of authorities to trust for a PostgreSQL store besides the usual ones",
    ),
    PUBLIC_URL: text("public_url", "URL", "The base URL of this server for clients and in links"),
    TLS_CERT: text(
        "tls_cert",
        "FILE",
        "PEM file with the certificate for TLS, and the intermediate certificates",
    ),
    TLS_KEY: text("tls_key", "FILE", "PEM file with the private key of tls_cert"),
    TRUSTED_PROXY: list(
        "trusted_proxy",
        "CIDR",
        "A network of proxies whose X-Forwarded-For or Forwarded is trusted (repeatable)",
    ),
    ALLOW_PLAIN_HTTP: switch(
        "allow_plain_http",
        "BOOL",
        "Serve without TLS on an address that other machines reach, where tokens can be read on the way",
    ),
    OUTBOUND_ALLOW: list(
        "outbound_allow",
        "CIDR[:PORT][@ORG]",
        "A network to which deliveries may go although it is not public (repeatable)",
    ),
    OUTBOUND_CA_FILE: text(
        "outbound_ca_file",
        "FILE",
        "PEM file of authorities to trust for endpoints besides the usual ones",
    ),
    SLACK_HOSTS: list(
        "slack_hosts",
        "HOST",
        "A host, with its port unless it is 443, for webhooks of the format slack (repeatable)",
    ).or("hooks.slack.com"),
    // Source: wire-facts.md#outgoing-request.
    EXCHANGE_TIMEOUT: text(
        "exchange_timeout",
        "DURATION",
        "The time limit of an attempt, from connect to last byte",
    ).or("15s"),
    RETRY_SCHEDULE: list(
        "retry_schedule",
        "DURATION",
        "The waits between a delivery's attempts (repeatable)",
    ).or_made(retry_schedule, "5s to 12h, over 75 hours"),
    IN_FLIGHT_MAX: number(
        "in_flight_max",
        "ATTEMPTS",
        "The most attempts at once; one organization has at most a quarter of them",
    ).or("1024"),
    PAYLOAD_BYTES_MAX: bytes("payload_bytes_max", "BYTES", "The size of an event's payload").or("256KiB"),
    REQUEST_BYTES_MAX: bytes("request_bytes_max", "BYTES", "The size of a request's body").or("4MiB"),
    EVENTS_IN_REQUEST_MAX: number("events_in_request_max", "EVENTS", "Events in one array").or("1000"),
    WEBHOOKS_IN_SCOPE_MAX: number(
        "webhooks_in_scope_max",
        "WEBHOOKS",
        "Webhooks of one organization, stack or environment",
    ).or("1000"),
    PENDING_DELIVERIES_MAX: number(
        "pending_deliveries_max",
        "DELIVERIES",
        "Pending deliveries of one organization",
    ).or("1000000"),
    STORED_BYTES_MAX: bytes("stored_bytes_max", "BYTES", "The most bytes stored for one organization").or("20GiB"),
    REQUESTS_PER_SECOND: number(
        "requests_per_second",
        "REQUESTS",
        "Requests a second with one token, and twice as many at once; 0 for no limit",
    ).or("1000"),
    MASTER_KEY: secret(
        "master_key",
        "BASE64",
        "The master key: 32 bytes in base64",
    ).unset_means("master.key in the data folder"),
    MASTER_KEY_COMMAND: text(
        "master_key_command",
        "COMMAND",
        "A command that prints the master key; it is run without a shell",
    ),
    PREVIOUS_MASTER_KEY: secret(
        "previous_master_key",
        "BASE64",
        "The previous master key: the next start seals its data keys with the new one",
    ),
    BOOTSTRAP_ORG: text("bootstrap_org", "NAME", "On an empty store: the organization to begin with"),
    BOOTSTRAP_USER: text("bootstrap_user", "LOGIN", "On an empty store: its first user").or("admin"),
    BOOTSTRAP_TOKEN: secret(
        "bootstrap_token",
        "TOKEN",
        "On an empty store: that user's token, at least 32 characters",
    ),
    EXPECT_EXISTING: switch(
        "expect_existing",
        "BOOL",
        "Refuse an empty store, as when a volume was not mounted",
    ),
    // Container runtimes kill a process 10 s (Docker) or 30 s (Kubernetes) after the request to stop; an exchange with an
    // endpoint takes at most 15 s.
    STOP_TIMEOUT: text("stop_timeout", "DURATION", "The longest time that a stop waits for running work").or("20s"),
    RETENTION_DAYS: number("retention_days", "DAYS", "The time for which finished deliveries are kept").or("30"),
    AUDIT_RETENTION_DAYS: number("audit_retention_days", "DAYS", "The time for which the audit log is kept").or("365"),
    LOG_FORMAT: text("log_format", "FORMAT", "auto (text on a terminal, else json), text or json").or("auto"),
    LOG_LEVEL: text(
        "log_level",
        "LEVEL",
        "error, warn, info, debug, trace, or directives such as info,stackbell_engine=debug",
    ).or("info"),
}

/// Variables that are not settings of the server: those of client commands, and the path of the file.
pub(crate) const OTHER_VARIABLES: &[&str] = &[
    "STACKBELL_CONFIG",
    "STACKBELL_URL",
    "STACKBELL_TOKEN",
    "STACKBELL_TOKEN_FILE",
    "STACKBELL_CA_FILE",
    "STACKBELL_WEBHOOK_SECRET",
];

const fn text(name: &'static str, value_name: &'static str, text: &'static str) -> Setting {
    Setting { name, kind: Kind::Text, value_name, text, fallback: Fallback::None }
}

const fn secret(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Secret, ..text(name, value_name, help) }
}

const fn place(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Place, ..text(name, value_name, help) }
}

const fn switch(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Switch, ..text(name, value_name, help) }
}

const fn number(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Number, ..text(name, value_name, help) }
}

const fn bytes(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Bytes, ..text(name, value_name, help) }
}

const fn list(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::List, ..text(name, value_name, help) }
}

fn retry_schedule() -> String {
    let waits = RetryPolicy::default().waits;
    waits.into_iter().map(duration_text).collect::<Vec<_>>().join(",")
}

impl Setting {
    /// Adds a default.
    const fn or(self, text: &'static str) -> Self {
        Self { fallback: Fallback::Text(text), ..self }
    }

    /// Adds a default that is computed; `words` describe it.
    const fn or_made(self, make: fn() -> String, words: &'static str) -> Self {
        Self { fallback: Fallback::Made(make, words), ..self }
    }

    /// Adds the meaning of a missing value.
    const fn unset_means(self, words: &'static str) -> Self {
        Self { fallback: Fallback::Means(words), ..self }
    }

    /// The default, in the form of a flag's value.
    pub(crate) fn default_text(&self) -> Option<String> {
        match self.fallback {
            Fallback::Text(text) => Some(text.to_owned()),
            Fallback::Made(make, _) => Some(make()),
            Fallback::None | Fallback::Means(_) => match self.kind {
                Kind::Switch => Some("false".to_owned()),
                Kind::List => Some(String::new()),
                Kind::Text | Kind::Secret | Kind::Place | Kind::Number | Kind::Bytes => None,
            },
        }
    }

    /// The help of its flag, with default and variable.
    pub(crate) fn help(&self) -> String {
        match self.fallback {
            Fallback::None => self.help_without_default(self.text),
            Fallback::Means(words) | Fallback::Text(words) | Fallback::Made(_, words) => {
                self.help_with_default(words)
            }
        }
    }

    /// The help of its flag, for a command with another default.
    pub(crate) fn help_with_default(&self, words: &str) -> String {
        self.help_without_default(&format!("{} [default: {words}]", self.text))
    }

    fn help_without_default(&self, text: &str) -> String {
        let variable = self.variable();
        match self.kind {
            Kind::Secret => format!("File with: {text} [env: {variable} or {variable}_FILE]"),
            Kind::Place => format!("{text} [env: {variable} or {variable}_FILE]"),
            Kind::Text | Kind::Switch | Kind::Number | Kind::Bytes | Kind::List => {
                format!("{text} [env: {variable}]")
            }
        }
    }

    /// Its variable. For `log_level` it is `STACKBELL_LOG`, by a common convention.
    pub(crate) fn variable(&self) -> String {
        match self.name {
            "log_level" => format!("{VARIABLE_PREFIX}LOG"),
            name => format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase()),
        }
    }

    /// Its flag, without dashes. Process lists show flags, so the flag of a secret names a file.
    pub(crate) fn flag(&self) -> String {
        let name = self.name.replace('_', "-");
        if self.kind == Kind::Secret { format!("{name}-file") } else { name }
    }

    /// Whether its value may be a secret, or hold one.
    pub(crate) fn may_hold_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Place)
    }

    /// The setting that names a file with this secret.
    pub(crate) fn file_name(&self) -> Option<String> {
        self.may_hold_secret().then(|| format!("{}_file", self.name))
    }
}

/// The name of `known` that is most similar to `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let likeness = |other: &&str| strsim::jaro_winkler(name, other);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> &'static Setting {
        SETTINGS.iter().find(|setting| setting.name == name).expect("a setting")
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
        let names = || SETTINGS.iter().map(|setting| setting.name);
        assert_eq!(nearest("lisen", names()), "listen");
        assert_eq!(nearest("stop_time_out", names()), "stop_timeout");
        assert_eq!(nearest("outbound-allow", names()), "outbound_allow");
    }
}
