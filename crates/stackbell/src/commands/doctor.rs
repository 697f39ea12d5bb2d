//! `stackbell doctor`: finds problems and names the remedies. Changes nothing.
//!
//! - `storage`: the data folder, its disk, an embedded store and its keys
//! - `database`: a store on PostgreSQL
//! - `tls`: the certificate in the files, and the one that a server presents
//! - `listening`: the addresses
//! - `environment`: limits, trusted certificates and name resolution of this machine

mod database;
mod environment;
mod listening;
mod storage;
mod tls;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use stackbell_config::{Found, SettingFlags, Settings, StoreSettings};
use stackbell_model::Clock as _;
use stackbell_server::data_folder::{DataFolder, Holder};
use stackbell_system::{Environment, SystemClock, block_on};

/// The result of one check.
enum Finding {
    Ok(String),
    Warn(String),
    Fail(String),
}

use Finding::{Fail, Ok as Fine, Warn};

/// An error with its causes, in one line.
fn failed(error: impl Into<anyhow::Error>) -> Finding {
    Fail(format!("{:#}", error.into()))
}

/// Prints findings, and remembers whether something failed.
struct Report<'a> {
    out: &'a mut dyn Write,
    failed: bool,
}

impl Report<'_> {
    fn add(&mut self, subject: &str, finding: Finding) -> io::Result<()> {
        let (word, text) = match finding {
            Finding::Ok(text) => ("ok", text),
            Finding::Warn(text) => ("warn", text),
            Finding::Fail(text) => {
                self.failed = true;
                ("fail", text)
            }
        };
        writeln!(self.out, "{word:<5} {subject:<12} {text}")
    }
}

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut report = Report { out, failed: false };
    match Found::collect(flags, environment, &[]).and_then(|found| found.serving()) {
        Ok(settings) => {
            report.add("settings", Fine("can be used".to_owned()))?;
            block_on(examine(&settings, &mut report)).context("cannot start the runtime")??;
        }
        Err(error) => {
            let text = format!(
                "{:#}; `stackbell config check` shows where each comes from",
                anyhow::Error::new(error)
            );
            report.add("settings", Fail(text))?;
        }
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(settings: &Settings, report: &mut Report<'_>) -> io::Result<()> {
    let data = &settings.storage.data;
    report.add("data folder", storage::data_folder(data))?;
    let holder = DataFolder::holder(data);
    let is_running = matches!(holder, Ok(Holder::Process(_)));
    report.add("lock", storage::lock(holder))?;
    match &settings.storage.store {
        StoreSettings::Embedded(embedded) => {
            storage::examine(settings, embedded, is_running, report).await?;
        }
        StoreSettings::Postgres(database) => database::examine(settings, database, report).await?,
    }
    report.add("descriptors", environment::open_files(settings))?;
    report.add("authorities", environment::authorities(settings).await)?;
    report.add("names", environment::names(settings).await)?;
    if let Some(files) = &settings.server.tls {
        tls::certificate(files, &settings.server, SystemClock.now(), report)?;
    }
    listening::examine(settings, is_running, report).await
}
