//! `stackbell listen`: a receiver on this machine. It shows real deliveries, and can simulate a failing endpoint.

use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::StatusCode;
use clap::Args;
use serde_json::json;
use stackbell_model::Entropy as _;
use stackbell_model::secret::WebhookSecret;
use stackbell_system::{
    Environment, SecretText, Signals, SystemEntropy, block_on, note, parse_duration, stop_unless_hurried,
};
use stackbell_wire::signature::SigningKey;
use ureq::http::Method;
use url::Url;

use super::secret::{self, read_file};
use crate::api::{Client, Payload, parse_url};
use crate::output::Output;
use crate::receiver::{Behaviour, Receiver, Style};
use crate::verb::{ClientArgs, positive};

/// The port after the server's, 8722.
const PORT_DEFAULT: u16 = 8723;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  stackbell listen --register acme
  stackbell listen --secret-file secret.txt --output json --count 3
  stackbell listen --status 503 --delay 2s

A delivery with a wrong signature is shown as such and answered 401.
The server sends to this machine only when it is allowed to: `stackbell dev` is, `stackbell serve` needs
--outbound-allow 127.0.0.1:8723.")]
pub struct ListenArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The address to listen at
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port; 0 for any free one
    #[arg(long, default_value_t = PORT_DEFAULT)]
    port: u16,
    /// The file with the webhook's secret; - for standard input [env: STACKBELL_WEBHOOK_SECRET]
    #[arg(long, value_name = "FILE", conflicts_with = "register")]
    secret_file: Option<PathBuf>,
    /// The status of responses to deliveries with right signatures
    #[arg(long, value_name = "CODE", default_value = "204", value_parser = status)]
    status: StatusCode,
    /// The delay before each response
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    delay: Duration,
    /// End after one delivery
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// End after this number of deliveries
    #[arg(long, value_name = "N", value_parser = positive::<u64>, allow_negative_numbers = true)]
    count: Option<u64>,
    /// Register a webhook of this organization with a new secret for it, and remove the webhook at the end
    #[arg(long, value_name = "ORG")]
    register: Option<String>,
    /// The URL at which the server reaches it, such as a tunnel's
    #[arg(long, value_name = "URL", value_parser = parse_url, requires = "register")]
    reached_at: Option<Url>,
}

fn status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse().ok().filter(|status: &StatusCode| status.as_u16() >= 200);
    status.ok_or("must be an HTTP status from 200 to 999")
}

/// The webhook that was registered for the receiver.
struct Registration {
    client: Client,
    organization: String,
    name: String,
}

pub(crate) fn run(args: &ListenArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let secret = secret(args, environment)?;
    let client = match &args.register {
        Some(_) => Some(Client::new(args.client.find(environment)?)?),
        None => None,
    };
    block_on(listen(args, secret, client)).context("cannot start the runtime")??;
    Ok(ExitCode::SUCCESS)
}

fn secret(args: &ListenArgs, environment: &Environment) -> anyhow::Result<Option<SecretText>> {
    match (&args.secret_file, &args.register) {
        (Some(path), _) => read_file(path).map(Some),
        (None, Some(_)) => secret::generate().map(Some),
        (None, None) => Ok(environment.get(secret::VARIABLE).map(|text| SecretText::new(text.to_owned()))),
    }
}

async fn listen(args: &ListenArgs, secret: Option<SecretText>, client: Option<Client>) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    // Any secret is accepted, because the server signs with stored secrets that it would refuse today.
    let key = secret.as_ref().map(|secret| WebhookSecret::from_stored(secret.expose()));
    let behaviour = Behaviour {
        key: key.as_ref().map(SigningKey::new),
        status: args.status,
        delay: args.delay,
        style: style(args.client.output()),
    };
    let address = SocketAddr::new(args.address, args.port);
    let receiver = Receiver::start(address, behaviour).await;
    let receiver = receiver.with_context(|| {
        format!("cannot listen at {address}: is something else there? choose another port with --port")
    })?;
    let registration = match (client, &args.register, secret) {
        (Some(client), Some(organization), Some(secret)) => {
            let url = args.reached_at.as_ref().map_or(receiver.url(), Url::as_str).to_owned();
            match register(client, organization.clone(), url, secret).await {
                Ok(registration) => Some(registration),
                Err(error) => {
                    receiver.stop().await;
                    return Err(error);
                }
            }
        }
        _ => None,
    };
    // Standard output is for deliveries only, so the introduction goes to standard error.
    note(&introduction(args, receiver.url(), registration.as_deref(), key.is_some()));
    let count = if args.once { Some(1) } else { args.count };
    tokio::select! {
        () = enough(&receiver, count) => {}
        _ = signals.next() => {}
    }
    let stop = async {
        let removed = remove(registration).await;
        receiver.stop().await;
        removed
    };
    stop_unless_hurried(&mut signals, || {}, stop).await
}

async fn enough(receiver: &Receiver, count: Option<u64>) {
    match count {
        Some(count) => receiver.received(count).await,
        None => std::future::pending().await,
    }
}

/// JSON for programs; colours on a terminal that supports them.
fn style(output: Output) -> Style {
    match output {
        Output::Json => Style::Json,
        Output::Table => Style::Whole { is_coloured: crate::output::is_coloured(io::stdout().is_terminal()) },
    }
}

async fn register(
    client: Client,
    organization: String,
    url: String,
    secret: SecretText,
) -> anyhow::Result<Arc<Registration>> {
    // Several listeners may run at once, and a name has a maximum length.
    let unique: String = SystemEntropy::seeded()?.uuid_v4().simple().to_string().chars().take(8).collect();
    let name = format!("listen-{unique}");
    let registration = Arc::new(Registration { client, organization, name });
    let registering = Arc::clone(&registration);
    // The client blocks.
    let registered = tokio::task::spawn_blocking(move || {
        let webhook = json!({
            "organizationName": registering.organization,
            "name": registering.name,
            "displayName": "stackbell listen",
            "payloadUrl": url,
            "active": true,
            "format": "raw",
            "secret": secret.expose(),
        });
        let path = ["api", "orgs", &registering.organization, "hooks"];
        registering.client.call(Method::POST, &path, Payload::Json(&webhook))
    });
    registered.await.context("registering was interrupted")?.context("cannot register the webhook")?;
    Ok(registration)
}

async fn remove(registration: Option<Arc<Registration>>) -> anyhow::Result<()> {
    let Some(registration) = registration else { return Ok(()) };
    let removing = Arc::clone(&registration);
    let removed = tokio::task::spawn_blocking(move || {
        let path = ["api", "orgs", &removing.organization, "hooks", &removing.name];
        removing.client.call(Method::DELETE, &path, Payload::Empty)
    });
    let remedy = || {
        format!(
            "the webhook is still there; remove it with\n  stackbell webhook remove {} {}",
            registration.organization, registration.name
        )
    };
    removed.await.context("removing was interrupted")?.with_context(remedy)?;
    note(&format!("Removed the webhook {}.", registration.name));
    Ok(())
}

/// The text at the start: the address and the next steps. Each command line can be pasted into a shell.
fn introduction(
    args: &ListenArgs,
    url: &str,
    registration: Option<&Registration>,
    has_secret: bool,
) -> String {
    let mut text = format!("Listening at {url}; Ctrl-C ends it.\n");
    match registration {
        Some(Registration { organization, name, .. }) => {
            text.push_str(&format!(
                "Registered as the webhook {name} of {organization}, which is removed at the end.\n\n\
                 Send something:\n\n  stackbell webhook ping {organization} {name}\n"
            ));
        }
        None => {
            let secret = match (&args.secret_file, has_secret) {
                (Some(path), _) => format!(" --secret-file {}", path.display()),
                (None, true) => " --secret-env".to_owned(),
                (None, false) => String::new(),
            };
            text.push_str(&format!(
                "Register it (put your organization in place of acme), then ping it:\n\n  \
                 stackbell webhook new acme --name listen --url {url}{secret}\n  \
                 stackbell webhook ping acme listen\n"
            ));
            if !has_secret {
                text.push_str("\nThere is no secret, so signatures are not checked; use --secret-file or --register ORG.\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(status("503"), Ok(StatusCode::SERVICE_UNAVAILABLE));
        for bad in ["100", "99", "ok", "1000"] {
            assert!(status(bad).is_err(), "{bad}");
        }
    }
}
