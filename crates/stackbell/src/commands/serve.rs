//! `stackbell serve`: production.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::bootstrap::{self, BootstrapError};
use crate::config::{Environment, Found, SettingFlags, Settings};
use crate::lifecycle::{Signals, stop_unless_hurried};
use crate::server::{self, Base, Server};
use crate::telemetry;

pub(crate) fn run(flags: &SettingFlags, environment: &Environment) -> anyhow::Result<ExitCode> {
    let settings = Found::collect(flags, environment, &[])?.settings()?;
    telemetry::start(&settings.logs)?;
    let ended = super::block_on(serve(&settings)).context("cannot start the runtime")?;
    Ok(ended.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the server ends");
        ExitCode::from(super::exit_code(&error))
    }))
}

async fn serve(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let server = tokio::select! {
        server = start(settings) => server?,
        signal = signals.next() => {
            tracing::info!(signal = signal.as_str(), "stopped before it had started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %server.address(),
        store = %settings.storage.file.display(),
        public_url = %server.url(),
        "stackbell serves"
    );
    let code = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal = signal.as_str(), "stopping");
            ExitCode::SUCCESS
        }
        () = server.ended() => {
            tracing::error!("the engine or the listener ended by itself, which is a defect; the process ends");
            ExitCode::FAILURE
        }
    };
    stop_unless_hurried(&mut signals, server.stop(settings.server.stop_timeout)).await;
    tracing::info!("stopped");
    Ok(code)
}

async fn start(settings: &Settings) -> anyhow::Result<Server> {
    let storage = &settings.storage;
    if storage.expect_existing && !storage.file.exists() {
        return Err(BootstrapError::Empty.into());
    }
    let socket = server::bind(settings.server.listen).await?;
    let opened = server::open(storage).await?;
    let beginning = bootstrap::decide(
        opened.store.as_ref(),
        &settings.bootstrap,
        storage.expect_existing,
        &settings.server,
    )
    .await?;
    let mut base = Base::new(opened, settings.master_key.as_ref()).await?;
    let now = base.now();
    bootstrap::begin(base.store.as_ref(), &base.keyring, beginning, &mut base.entropy, now).await?;
    Server::start(settings, socket, base).await
}
