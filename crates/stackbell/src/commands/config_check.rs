//! `stackbell config check`: prints the settings with their origins, and checks them.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use stackbell_config::{ConfigError, Found, MasterKeySetting, SettingFlags, Settings, StoreSettings};
use stackbell_server::keyring::KeyFiles;
use stackbell_server::tls::Pair;
use stackbell_system::{Environment, client_tls, note};

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let found = Found::collect(flags, environment, &[])?;
    write!(out, "{}", found.report())?;
    let settings = found.serving()?;
    check_files(&settings)?;
    if matches!(settings.keys.master, MasterKeySetting::Command(_)) {
        note("master_key_command was not run; `stackbell doctor` runs it");
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the files that a start needs: certificate and key, authorities, and the master key.
fn check_files(settings: &Settings) -> Result<(), ConfigError> {
    if let Some(files) = &settings.server.tls {
        Pair::load(files).map_err(|source| unusable("tls_cert and tls_key", source))?;
    }
    if let Some(path) = &settings.outbound.ca_file {
        client_tls(Some(path)).map_err(|source| unusable("outbound_ca_file", source))?;
    }
    if let StoreSettings::Postgres(database) = &settings.storage.store
        && let Some(path) = &database.ca_file
    {
        client_tls(Some(path)).map_err(|source| unusable("database_ca_file", source))?;
    }
    if matches!(settings.keys.master, MasterKeySetting::DataFolder) {
        let own = KeyFiles::at(&settings.storage.data).current();
        own.map_err(|source| unusable("the master key of the data folder", source))?;
    }
    Ok(())
}

fn unusable(what: &'static str, source: impl Error + Send + Sync + 'static) -> ConfigError {
    ConfigError::Unusable { what, source: Box::new(source) }
}
