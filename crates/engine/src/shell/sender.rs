//! One attempt: signs the request, sends it, and returns the outcome.

use stackbell_model::Chain;
use std::time::Duration;

use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome};
use stackbell_model::teams::TeamsError;
use stackbell_model::webhook::Format;
use stackbell_wire::headers::{Outgoing, RequestHeaders};
use tokio_util::sync::CancellationToken;

use super::deployments::{Deployments, Refused, Wanted};
use super::endpoints::{Endpoint, EndpointError, Endpoints};
use crate::core::AttemptRequest;
use crate::outbound::{Connections, Exchange, OutboundClient, OutboundRequest};

/// The most bytes of a response body that are kept. The core trims it further for attempts between the first and the last.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The recorded reason of an attempt that was cut by our shutdown.
const CUT: &str = "interrupted: the server was stopped before the endpoint responded";

/// The recorded reason if a second request might start a second deployment.
const CUT_RUN: &str = "interrupted: the server was stopped before the API responded; the API may have started the deployment, so \
     the request is not repeated";

pub(super) struct Sender {
    endpoints: Endpoints,
    deployments: Deployments,
    outbound: OutboundClient,
    /// Cuts attempts in flight, because the process must end.
    hard: CancellationToken,
}

/// The request that was made, and its outcome.
struct Made {
    /// The URL that was called, if it is not the webhook's payload URL, because the payload URL names a stack.
    url: Option<Box<str>>,
    headers: String,
    outcome: Outcome,
    duration: Duration,
}

impl Made {
    /// No request was sent.
    fn nothing(outcome: Outcome) -> Self {
        Self { url: None, headers: String::new(), outcome, duration: Duration::ZERO }
    }
}

impl Sender {
    pub(super) fn new(
        endpoints: Endpoints,
        deployments: Deployments,
        outbound: OutboundClient,
        hard: CancellationToken,
    ) -> Self {
        Self { endpoints, deployments, outbound, hard }
    }

    /// Makes an attempt. Always returns an outcome.
    pub(super) async fn attempt(&self, send: &AttemptRequest) -> Attempt {
        let made = match self.endpoints.prepare(&send.webhook).await {
            Ok(endpoint) => match send.delivery.format {
                Format::Raw | Format::Slack | Format::MsTeams => self.post(send, &endpoint).await,
                Format::PulumiDeployments => self.run(send, &endpoint).await,
            },
            Err(error) => Made::nothing(not_prepared(&error)),
        };
        Attempt {
            trigger: send.trigger,
            started_at: send.started_at,
            duration: made.duration,
            request_url: made.url.unwrap_or_else(|| send.webhook.payload_url.expose().into()),
            request_headers: made.headers.into(),
            outcome: made.outcome,
        }
    }

    async fn post(&self, send: &AttemptRequest, endpoint: &Endpoint) -> Made {
        let Some(target) = endpoint.target.clone() else {
            let text = "the payload URL now names a stack, so this delivery's format cannot be sent";
            return Made::nothing(Outcome::Undeliverable { text: text.into() });
        };
        let headers = headers(send, endpoint);
        let record = headers.record_lines();
        let organization = endpoint.organization.clone();
        let request = OutboundRequest::post(organization, target, headers.into_pairs(), send.payload.clone());
        let (outcome, duration) = match self.exchange(request.on(connections(send))).await {
            Some(Exchange { outcome, duration, .. }) => (outcome, duration),
            None => (Outcome::OurFault { text: CUT.into() }, Duration::ZERO),
        };
        let outcome = if send.delivery.format == Format::MsTeams { judge_teams(outcome) } else { outcome };
        Made { url: None, headers: record, outcome, duration }
    }

    /// Starts a deployment. A ping only checks that its stack exists.
    async fn run(&self, send: &AttemptRequest, endpoint: &Endpoint) -> Made {
        let wanted = match send.trigger {
            AttemptTrigger::Ping => Wanted::Look,
            AttemptTrigger::Schedule | AttemptTrigger::Probe | AttemptTrigger::Redeliver => Wanted::Run,
        };
        let stack = send.webhook.payload_url.expose();
        let prepared =
            self.deployments.prepare(send.webhook.organization, &endpoint.organization, stack, wanted);
        let (url, target) = match prepared.await {
            Ok(prepared) => prepared,
            Err(refused) => return Made::nothing(not_run(refused)),
        };
        let headers = headers(send, endpoint).with_accept(Deployments::ACCEPT);
        let record = headers.record_lines();
        let (organization, headers) = (endpoint.organization.clone(), headers.into_pairs());
        let request = match wanted {
            Wanted::Run => OutboundRequest::post(organization, target, headers, send.payload.clone()),
            Wanted::Look => OutboundRequest::get(organization, target, headers),
        };
        // If a connection breaks after the request was written, the request may have started a deployment. On a new connection
        // this case is detected, and the attempt is the last. On a reused connection it is not, so none is reused.
        let request = request.on(Connections::New);
        let (outcome, duration) = match (self.exchange(request).await, wanted) {
            (Some(Exchange { outcome, duration, .. }), _) => (outcome, duration),
            (None, Wanted::Look) => (Outcome::OurFault { text: CUT.into() }, Duration::ZERO),
            (None, Wanted::Run) => (Outcome::Undeliverable { text: CUT_RUN.into() }, Duration::ZERO),
        };
        Made { url: Some(url), headers: record, outcome, duration }
    }

    /// `None` if our shutdown cut the exchange.
    async fn exchange(&self, request: OutboundRequest) -> Option<Exchange> {
        self.hard.run_until_cancelled(self.outbound.send(request, BODY_BYTES_MAX)).await
    }
}

fn headers(send: &AttemptRequest, endpoint: &Endpoint) -> RequestHeaders {
    RequestHeaders::new(&Outgoing {
        id: send.delivery.event_id,
        kind: send.delivery.trigger.kind(),
        body: &send.payload,
        keys: endpoint.keys.as_ref(),
        standard_headers: send.webhook.standard_headers,
        at: send.started_at,
    })
}

/// A first attempt may use any connection. All other attempts follow a failure or test an endpoint on request, so they do not
/// rely on an idle connection that may be closed.
const fn connections(send: &AttemptRequest) -> Connections {
    match send.trigger {
        AttemptTrigger::Schedule if send.delivery.attempts_spent == 0 => Connections::Any,
        AttemptTrigger::Schedule
        | AttemptTrigger::Probe
        | AttemptTrigger::Redeliver
        | AttemptTrigger::Ping => Connections::New,
    }
}

/// Connectors of Microsoft Teams respond 200 even if Teams reports an error. Source: wire-facts.md#microsoft-teams.
fn judge_teams(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Answered(response)
            if (200..300).contains(&response.status) && TeamsError::find(&response.body).is_some() =>
        {
            Outcome::HiddenError(response)
        }
        other => other,
    }
}

fn not_prepared(error: &EndpointError) -> Outcome {
    tracing::error!(error = %Chain(error), "an attempt could not be prepared");
    Outcome::OurFault { text: error.to_string().into() }
}

fn not_run(refused: Refused) -> Outcome {
    match refused {
        Refused::NotNow(error) => {
            tracing::error!(error = %Chain(&error), "a deployment could not be prepared");
            Outcome::OurFault { text: error.to_string().into() }
        }
        Refused::Never(refusal) => Outcome::Undeliverable { text: refusal.to_string().into() },
    }
}
