//! `stackbell openapi`: prints the document of both APIs.

use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    write!(out, "{}", stackbell_http::openapi())?;
    Ok(ExitCode::SUCCESS)
}
