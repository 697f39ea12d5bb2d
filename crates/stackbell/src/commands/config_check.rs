//! `stackbell config check`: what is set, and where.

use std::io::Write;
use std::process::ExitCode;

use crate::config::{Environment, Found, SettingFlags};

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let found = Found::collect(flags, environment, &[])?;
    write!(out, "{}", found.report())?;
    found.serving()?;
    Ok(ExitCode::SUCCESS)
}
