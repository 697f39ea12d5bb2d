//! `stackbell dev`: a server to try out, with a first event.
//!
//! It starts a server with its store in a temporary folder, and creates an organization, a user and a token. It then starts
//! a receiver, creates a webhook for it, and delivers a first event. At the end it prints the next steps, and then a line
//! for each failed attempt. Everything but the token is created through the public API.

mod failures;
mod first_event;
mod guide;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::http::StatusCode;
use clap::Args;
use stackbell_client::{Behaviour, Client, ClientSettings, Receiver, Style};
use stackbell_config::{ConfigError, Found, MasterKeySetting, SettingFlags, Settings, StoreSettings};
use stackbell_engine::outbound::Allowance;
use stackbell_model::names::{Login, NameError, OrganizationName};
use stackbell_model::secret::WebhookSecret;
use stackbell_model::{Clock as _, Entropy as _};
use stackbell_server::bootstrap::Developer;
use stackbell_server::{Base, Server, Sockets, storage, telemetry};
use stackbell_system::{
    Environment, SecretText, Signals, SystemClock, SystemEntropy, block_on, local_url, stop_unless_hurried,
};
use stackbell_wire::signature::SigningKey;

use failures::Failures;
use first_event::FirstEvent;
use guide::Guide;

/// The login of the user of `dev`.
const LOGIN: &str = "dev";

/// The random bytes of the receiver's secret: as many as a signature has.
const SECRET_BYTES: usize = 32;

/// The default of `data` for this command, for the help.
const DATA_DEFAULT: &str = "a temporary one, gone when this ends";
/// The default of `log_level` here.
const LOG_LEVEL_DEFAULT: &str = "warn";
const STORE_HELP: &str = "The store, as sqlite:PATH; goes with --data, which keeps its key [default: stackbell.db in the data \
                          folder] [env: STACKBELL_STORE or STACKBELL_STORE_FILE]";

#[derive(Debug, Args)]
#[command(
    mut_arg("data", |arg| arg.help(SettingFlags::help_with_default("data", DATA_DEFAULT))),
    mut_arg("store", |arg| arg.help(STORE_HELP)),
    mut_arg("log_level", |arg| arg.help(SettingFlags::help_with_default("log_level", LOG_LEVEL_DEFAULT))),
)]
pub(crate) struct DevArgs {
    /// The organization to create
    #[arg(long, default_value = "acme", value_parser = organization)]
    org: OrganizationName,
    #[command(flatten)]
    settings: SettingFlags,
}

fn organization(text: &str) -> Result<OrganizationName, NameError> {
    OrganizationName::parse(text)
}

pub(crate) fn run(args: &DevArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    // The temporary folder is removed at the end, unless --data names another one.
    let temporary = tempfile::Builder::new().prefix("stackbell-dev-").tempdir();
    let temporary = temporary.context("cannot make a temporary folder")?;
    let data = temporary.path().join("data").display().to_string();
    // `dev` prints its own messages, so the log has only warnings and errors.
    let defaults = [("data", data), ("log_level", LOG_LEVEL_DEFAULT.to_owned())];
    let mut settings = Found::collect(&args.settings, environment, &defaults)?.settings()?;
    check(&settings, temporary.path())?;
    settings.outbound.allowances.extend(Allowance::loopback());
    telemetry::start(&settings.logs)?;
    let is_kept = !settings.storage.data.starts_with(temporary.path());
    block_on(dev(&settings, &args.org, is_kept)).context("cannot start the runtime")??;
    temporary.close().context("cannot remove the temporary folder")?;
    Ok(ExitCode::SUCCESS)
}

fn check(settings: &Settings, temporary: &Path) -> Result<(), ConfigError> {
    let refuse = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    if settings.server.tls.is_some() {
        return refuse(
            "dev serves without TLS, to this machine: take tls_cert and tls_key out, or use `stackbell serve`",
        );
    }
    let has_temporary_key = matches!(settings.keys.master, MasterKeySetting::DataFolder)
        && settings.storage.data.starts_with(temporary);
    match &settings.storage.store {
        StoreSettings::Embedded(embedded) if has_temporary_key && !embedded.file.starts_with(temporary) => {
            refuse(
                "the store would be kept, and its master key, which is in the data folder, would not: set data too, as \
             with --data DIR",
            )
        }
        StoreSettings::Embedded(_) => Ok(()),
        StoreSettings::Postgres(_) => {
            refuse("dev keeps its store in a file: take store out, or use `stackbell serve`")
        }
    }
}

async fn dev(settings: &Settings, organization: &OrganizationName, is_kept: bool) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let sockets = Sockets::take(&settings.server).await?;
    let opened = storage::open(&settings.storage).await?;
    let mut base = Base::new(opened, &settings.keys).await?;
    let developer = Developer {
        store: base.store.as_ref(),
        keyring: &base.keyring,
        organization: organization.clone(),
        login: Login::parse(LOGIN).expect("a constant that is a login"),
        now: base.now(),
    };
    let developer_token = developer.prepare(&mut base.entropy).await?;
    let token = SecretText::new(developer_token.secret.expose().to_owned());
    let mut secret = [0; SECRET_BYTES];
    base.entropy.fill(&mut secret);
    let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let secret = WebhookSecret::new(&secret).expect("short enough");

    let (store, mut entropy) = (Arc::clone(&base.store), SystemEntropy::seeded()?);
    let server = Server::start(settings, sockets, base).await?;
    let receiver = Receiver::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), behaviour(&secret)).await?;
    let kept = is_kept.then(|| settings.storage.data.clone());
    let outcome = tokio::select! {
        ready = show(&server, &receiver, organization, &token, &secret, kept.as_deref()) => match ready {
            Ok(failures) => wait(&mut signals, &server, failures).await,
            Err(error) => Err(error),
        },
        _ = signals.next() => Ok(()),
    };
    let limit = settings.server.stop_timeout;
    let stop = async move {
        // The token is revoked first, because the server's stop closes the store.
        if let Err(error) = developer_token.revoke(store.as_ref(), SystemClock.now(), &mut entropy).await {
            tracing::warn!(%error, "the token could not be revoked; it expires a day after its creation");
        }
        drop(store);
        server.stop(limit).await;
        receiver.stop().await;
    };
    stop_unless_hurried(&mut signals, telemetry::flush, stop).await;
    outcome
}

/// A receiver that prints a line for each delivery, and responds 204 if the signature is right.
fn behaviour(secret: &WebhookSecret) -> Behaviour {
    Behaviour {
        key: Some(SigningKey::new(secret)),
        status: StatusCode::NO_CONTENT,
        delay: std::time::Duration::ZERO,
        style: Style::Line,
    }
}

/// Registers the webhook, publishes the first event, waits for its delivery, and prints the next steps.
async fn show(
    server: &Server,
    receiver: &Receiver,
    organization: &OrganizationName,
    token: &SecretText,
    secret: &WebhookSecret,
    kept: Option<&Path>,
) -> anyhow::Result<Failures> {
    // The local address; the public one may not be reachable yet.
    let url = local_url(server.address(), false);
    let guide = Guide { url: &url, organization, token, receiver: receiver.url(), kept };
    guide.print_head(&mut io::stdout())?;
    let client = Client::new(ClientSettings { url: url.clone(), token: Some(token.clone()), ca_file: None })?;
    let client = Arc::new(client);
    let failures = Failures::begin(Arc::clone(&client), organization.to_string()).await?;
    let first = FirstEvent {
        client,
        organization: organization.to_string(),
        receiver: receiver.url().to_owned(),
        secret: secret.clone(),
    };
    first.publish().await?;
    receiver.received(1).await;
    guide.print_next(&mut io::stdout())?;
    Ok(failures)
}

/// Prints failed attempts until a signal arrives or the server fails.
async fn wait(signals: &mut Signals, server: &Server, failures: Failures) -> anyhow::Result<()> {
    let mut out = io::stdout();
    tokio::select! {
        _ = signals.next() => Ok(()),
        ended = failures.say(&mut out) => ended,
        () = server.ended() => Err(anyhow::anyhow!("the server ended by itself, which is a defect")),
    }
}
