//! `stackbell migrate`: the store's file, brought up to date.

use std::io::Write;
use std::process::ExitCode;

use stackbell_store_sqlite::SqliteStore;

use crate::config::{Environment, Found, SettingFlags};
use crate::data_folder::DataFolder;
use crate::telemetry;

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let settings = Found::collect(flags, environment, &[])?.settings()?;
    telemetry::start(&settings.logs)?;
    let _folder = DataFolder::open(&settings.storage.data)?;
    let path = &settings.storage.file;
    let before = SqliteStore::version(path)?;
    let after = SqliteStore::migrate(path)?;
    let path = path.display();
    match before {
        None => writeln!(out, "{path}: made, at version {after}")?,
        Some(before) if before == after => writeln!(out, "{path}: at version {after} already")?,
        Some(before) => writeln!(out, "{path}: from version {before} to version {after}")?,
    }
    Ok(ExitCode::SUCCESS)
}
