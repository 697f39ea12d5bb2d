//! Rules between settings: some need each other, some exclude each other.

use url::Url;

use super::{ConfigError, Found};
use crate::definitions::{
    DATABASE_CA_FILE, DATABASE_CONNECTIONS, DATABASE_POOLING, MASTER_KEY, MASTER_KEY_COMMAND, Setting,
    TLS_CERT, TLS_KEY,
};
use crate::sections::{LimitSettings, MasterKeySetting, ServerSettings, Settings, StoreSettings};
use crate::size::bytes_text;

/// Settings that have no effect with an embedded store.
const OF_DATABASES: [Setting; 3] = [DATABASE_CONNECTIONS, DATABASE_POOLING, DATABASE_CA_FILE];

/// Rules about settings that must be present or absent.
pub(super) fn check_presence(found: &Found) -> Result<(), ConfigError> {
    let has = |setting| found.value(setting).is_some();
    let lonely = match (has(&TLS_CERT), has(&TLS_KEY)) {
        (true, false) => Some(("tls_cert", "tls_key")),
        (false, true) => Some(("tls_key", "tls_cert")),
        (true, true) | (false, false) => None,
    };
    if let Some((set, unset)) = lonely {
        return refuse(format!("{set} is set and {unset} is not: TLS needs both, set {unset} too"));
    }
    if has(&MASTER_KEY) && has(&MASTER_KEY_COMMAND) {
        return refuse("both master_key and master_key_command are set: set one".to_owned());
    }
    Ok(())
}

/// Rules about the values.
pub(crate) fn check(settings: &Settings, allow_plain_http: bool) -> Result<(), ConfigError> {
    check_addresses(&settings.server)?;
    check_tls(&settings.server, allow_plain_http)?;
    check_sizes(&settings.limits)
}

/// A setting without effect is an error, because in most cases the store's URL is missing.
pub(crate) fn check_embedded(found: &Found) -> Result<(), ConfigError> {
    match OF_DATABASES.iter().find(|setting| found.is_set(setting)) {
        None => Ok(()),
        Some(setting) => refuse(format!(
            "{key} ({}) is for a store on PostgreSQL, and store is a file: set store to postgres://…, or take {key} out",
            found.origin(setting),
            key = setting.name
        )),
    }
}

/// Rules that only a server needs.
pub(crate) fn check_serving(settings: &Settings) -> Result<(), ConfigError> {
    match (&settings.storage.store, &settings.keys.master) {
        // All nodes need the same key, so a node must not generate its own.
        (StoreSettings::Postgres(_), MasterKeySetting::DataFolder) => refuse(
            "there is no master key: nodes that share a PostgreSQL store are all given the same one, with \
             STACKBELL_MASTER_KEY, master_key_file or --master-key-command; `stackbell key new` prints a new one"
                .to_owned(),
        ),
        (StoreSettings::Postgres(_) | StoreSettings::Embedded(_), _) => Ok(()),
    }
}

fn check_addresses(server: &ServerSettings) -> Result<(), ConfigError> {
    match server.ops_listen {
        Some(address) if address == server.listen && address.port() != 0 => refuse(format!(
            "ops_listen and listen are both {address}: choose another port for ops_listen, or take it out"
        )),
        Some(_) | None => Ok(()),
    }
}

/// Tokens must not be sent unencrypted over a network, unless a setting allows it.
fn check_tls(server: &ServerSettings, allow_plain_http: bool) -> Result<(), ConfigError> {
    let has_scheme = |scheme: &str| server.public_url.as_ref().map(Url::scheme) == Some(scheme);
    if allow_plain_http {
        return Ok(());
    }
    if server.tls.is_some() && has_scheme("http") {
        return refuse(
            "public_url is http although tls_cert is set: write it with https, or set allow_plain_http"
                .to_owned(),
        );
    }
    if server.listen.ip().is_loopback() || server.tls.is_some() || has_scheme("https") {
        return Ok(());
    }
    refuse(format!(
        "listen is {}, which other machines reach, and tokens would cross the network in the clear: set tls_cert and \
         tls_key, or put a proxy with TLS in front and set public_url to its https address, or listen on 127.0.0.1, or \
         set allow_plain_http",
        server.listen
    ))
}

fn check_sizes(limits: &LimitSettings) -> Result<(), ConfigError> {
    if limits.request_bytes_max >= limits.payload_bytes_max {
        return Ok(());
    }
    refuse(format!(
        "request_bytes_max ({}) is less than payload_bytes_max ({}), so that no such payload could come: raise the one \
         or lower the other",
        bytes_text(limits.request_bytes_max as u64),
        bytes_text(limits.payload_bytes_max as u64),
    ))
}

fn refuse(text: String) -> Result<(), ConfigError> {
    Err(ConfigError::Conflict(text))
}
