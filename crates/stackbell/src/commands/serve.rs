//! `stackbell serve`: a server for production.

use std::process::ExitCode;

use anyhow::Context as _;
use stackbell_config::{Found, SettingFlags, Settings, StoreSettings};
use stackbell_server::bootstrap::BootstrapError;
use stackbell_server::lifecycle::{Hangups, Milestone, tell_manager};
use stackbell_server::{Base, Server, Sockets, bootstrap, fd_limit, storage, telemetry};
use stackbell_system::{Environment, Signals, block_on, stop_unless_hurried};

pub(crate) fn run(flags: &SettingFlags, environment: &Environment) -> anyhow::Result<ExitCode> {
    let settings = Found::collect(flags, environment, &[])?.serving()?;
    telemetry::start(&settings.logs)?;
    let ended = block_on(serve(&settings)).context("cannot start the runtime")?;
    Ok(ended.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the server ends");
        ExitCode::from(super::exit_code(&error))
    }))
}

async fn serve(settings: &Settings) -> anyhow::Result<ExitCode> {
    fd_limit::raise(&settings.delivery);
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let mut hangups = Hangups::listen().context("cannot listen to signals")?;
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
        ops_listen = server.operations_address().map(tracing::field::display),
        store = %settings.storage.store,
        public_url = %server.url(),
        "stackbell serves"
    );
    tell_manager(Milestone::Ready);
    let code = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal = signal.as_str(), "stopping");
                break ExitCode::SUCCESS;
            }
            () = hangups.next() => server.reload().await,
            () = server.ended() => {
                tracing::error!("the engine or a listener ended by itself, which is a defect; the process ends");
                break ExitCode::FAILURE;
            }
        }
    };
    tell_manager(Milestone::Stopping);
    stop_unless_hurried(&mut signals, telemetry::flush, server.stop(settings.server.stop_timeout)).await;
    tracing::info!("stopped");
    Ok(code)
}

async fn start(settings: &Settings) -> anyhow::Result<Server> {
    let expect_existing = settings.storage.expect_existing;
    // The check is necessary, because opening a missing store would create it.
    if let StoreSettings::Embedded(embedded) = &settings.storage.store
        && expect_existing
        && !embedded.file.exists()
    {
        return Err(BootstrapError::Empty.into());
    }
    let sockets = Sockets::take(&settings.server).await?;
    let opened = storage::open(&settings.storage).await?;
    let store = opened.store.as_ref();
    let beginning = bootstrap::decide(store, &settings.bootstrap, expect_existing).await?;
    let mut base = Base::new(opened, &settings.keys).await?;
    let now = base.now();
    bootstrap::begin(base.store.as_ref(), &base.keyring, beginning, &mut base.entropy, now).await?;
    Server::start(settings, sockets, base).await
}
