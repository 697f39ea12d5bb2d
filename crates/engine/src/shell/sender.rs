//! One attempt: sign, send, say what became of it.

use std::time::Duration;

use stackbell_model::delivery::{Attempt, Outcome};
use stackbell_model::webhook::Format;
use stackbell_wire::headers::{Outgoing, RequestHeaders};
use tokio_util::sync::CancellationToken;

use super::endpoints::{EndpointError, Endpoints};
use crate::core::Send;
use crate::outbound::{OutboundClient, OutboundRequest};

/// How much of an answer's body is kept; the machine trims it for attempts between the first and the last.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Sender {
    endpoints: Endpoints,
    outbound: OutboundClient,
    /// Cut what is in flight: the process must end.
    hard: CancellationToken,
}

impl Sender {
    pub(super) fn new(endpoints: Endpoints, outbound: OutboundClient, hard: CancellationToken) -> Self {
        Self { endpoints, outbound, hard }
    }

    /// Makes an attempt. Ends in any case.
    pub(super) async fn attempt(&self, send: &Send) -> Attempt {
        let (request_headers, outcome, duration) = match send.delivery.format {
            Format::Raw => self.exchange(send).await,
            format @ (Format::Slack | Format::MsTeams | Format::PulumiDeployments) => {
                let text = format!("format '{}' cannot be delivered by this version", format.as_str());
                (String::new(), Outcome::Undeliverable { text: text.into() }, Duration::ZERO)
            }
        };
        Attempt {
            trigger: send.trigger,
            started_at: send.started_at,
            duration,
            request_url: send.webhook.payload_url.expose().into(),
            request_headers: request_headers.into(),
            outcome,
        }
    }

    async fn exchange(&self, send: &Send) -> (String, Outcome, Duration) {
        let endpoint = match self.endpoints.prepare(&send.webhook).await {
            Ok(endpoint) => endpoint,
            Err(error) => return (String::new(), not_prepared(&error), Duration::ZERO),
        };
        let headers = RequestHeaders::new(&Outgoing {
            id: send.delivery.event_id,
            kind: send.delivery.trigger.kind(),
            body: &send.payload,
            keys: endpoint.keys.as_ref(),
            standard_headers: send.webhook.standard_headers,
            at: send.started_at,
        });
        let record = headers.record_lines();
        let headers = headers.into_pairs();
        let (organization, target) = (endpoint.organization.clone(), endpoint.target.clone());
        let request = OutboundRequest::post(organization, target, headers, send.payload.clone());
        let exchange = self.outbound.send(request, BODY_BYTES_MAX);
        match self.hard.run_until_cancelled(exchange).await {
            Some(exchange) => (record, exchange.outcome, exchange.duration),
            None => {
                let text = "cut short: the server was stopped before the endpoint had answered";
                (record, Outcome::OurFault { text: text.into() }, Duration::ZERO)
            }
        }
    }
}

fn not_prepared(error: &EndpointError) -> Outcome {
    tracing::error!(error = error as &dyn std::error::Error, "an attempt could not be prepared");
    Outcome::OurFault { text: error.to_string().into() }
}
