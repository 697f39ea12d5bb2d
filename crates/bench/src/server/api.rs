//! Requests of the benchmark to the server's API.

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::ServerProcess;
use crate::client::{Connection, Request, Unexpected, exchange};
use crate::load::NUMBER;

pub(super) const TOKEN: &str = "the-benchmark's-own-token-of-loopback";
pub(super) const ORGANIZATION: &str = "acme";

/// The text before an event's number.
pub(crate) const NUMBER_MEMBER: &str = r#""number":""#;

/// The stack of all stack events.
const PROJECT: &str = "website";
const STACK: &str = "website-prod";

/// A stack event of about a kilobyte. A paced load numbers it.
pub(crate) fn event() -> String {
    let filler = "0123456789".repeat(72);
    let payload = format!(
        r#"{{{NUMBER_MEMBER}{NUMBER}","projectName":"{PROJECT}","stackName":"{STACK}","updateUrl":"https://app.example.com/acme/website/website-prod/updates/42","kind":"update","result":"succeeded","resourceChanges":{{"create":3,"same":28}},"isPreview":false,"note":"{filler}"}}"#,
    );
    format!(r#"{{"kind":"stack_update","payload":{payload}}}"#)
}

/// A webhook to register.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) hears: Hears,
}

/// The events that a webhook receives.
#[derive(Clone, Copy)]
pub(crate) enum Hears {
    /// All stack events of the benchmark.
    Stack,
    /// The events of [`Publishing::environment`].
    Environments,
}

impl Endpoint {
    pub(crate) fn of_stack(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { name: name.into(), url: url.into(), hears: Hears::Stack }
    }

    pub(crate) fn of_environments(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { name: name.into(), url: url.into(), hears: Hears::Environments }
    }

    fn request(&self) -> Request {
        let mut body = json!({
            "organizationName": ORGANIZATION,
            "name": self.name,
            "displayName": self.name,
            "payloadUrl": self.url,
            "active": true,
            "secret": "a secret",
        });
        let path = match self.hears {
            Hears::Stack => format!("/api/stacks/{ORGANIZATION}/{PROJECT}/{STACK}/hooks"),
            Hears::Environments => {
                body["groups"] = json!(["environments"]);
                format!("/api/orgs/{ORGANIZATION}/hooks")
            }
        };
        signed_in(Request::post(path, body.to_string(), 201))
    }
}

/// The way in which events are published.
#[derive(Clone, Copy)]
pub(crate) enum Publishing {
    /// One event per request.
    Single,
    /// This many events per request, as NDJSON.
    Lines(usize),
}

impl Publishing {
    /// The number of events in a request.
    pub(crate) fn events(self) -> u64 {
        match self {
            Self::Single => 1,
            Self::Lines(count) => count as u64,
        }
    }

    pub(crate) fn request(self) -> Request {
        match self {
            Self::Single => publish(event()),
            Self::Lines(count) => {
                let lines = format!("{}\n", event()).repeat(count);
                Request { content_type: "application/x-ndjson".to_owned(), ..publish(lines) }
            }
        }
    }

    /// An event that only webhooks for environments receive.
    pub(crate) fn environment() -> Request {
        publish(format!(
            r#"{{"kind":"environment","payload":{{"action":"created","projectName":"{PROJECT}","environmentName":"prod"}}}}"#
        ))
    }
}

fn publish(body: String) -> Request {
    signed_in(Request::post(format!("/v1/orgs/{ORGANIZATION}/events"), body, 202))
}

fn signed_in(request: Request) -> Request {
    Request { token: Some(TOKEN.to_owned()), ..request }
}

/// The statistics of an organization for the last hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) events: u64,
    /// Deliveries that were created.
    pub(crate) made: u64,
    pub(crate) succeeded: u64,
    pub(crate) pending: u64,
}

#[derive(Deserialize)]
struct StatisticsBody {
    buckets: Vec<Bucket>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Bucket {
    events: u64,
    made: u64,
    succeeded: u64,
}

#[derive(Deserialize)]
struct Usage {
    pending: u64,
}

impl ServerProcess {
    /// Registers these webhooks, except those whose names exist.
    pub(crate) async fn register(&self, endpoints: &[Endpoint]) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for endpoint in endpoints {
            let request = endpoint.request();
            let body = request.body.clone().unwrap_or_default();
            let made = connection.send(&request, body.into()).await;
            // Another node may have registered it.
            match made {
                Err(error)
                    if error.downcast_ref().is_some_and(|Unexpected { status, .. }| *status == 409) => {}
                made => drop(made.with_context(|| format!("registering {}", endpoint.name))?),
            }
        }
        Ok(())
    }

    pub(crate) async fn statistics(&self) -> anyhow::Result<Statistics> {
        let path = format!("/v1/orgs/{ORGANIZATION}/statistics");
        let body = exchange(self.address, &signed_in(Request::get(path))).await?;
        let body: StatisticsBody = serde_json::from_slice(&body)?;
        let mut statistics = Statistics { pending: body.usage.pending, ..Statistics::default() };
        for bucket in body.buckets {
            statistics.events += bucket.events;
            statistics.made += bucket.made;
            statistics.succeeded += bucket.succeeded;
        }
        Ok(statistics)
    }

    /// Reads the newest events and deliveries, as a user would.
    pub(crate) async fn read_history(&self) -> anyhow::Result<()> {
        for what in ["events", "deliveries"] {
            let request = Request::get(format!("/v1/orgs/{ORGANIZATION}/{what}"));
            exchange(self.address, &signed_in(request)).await?;
        }
        Ok(())
    }

    /// The number of deliveries recorded as succeeded since the server started.
    pub(crate) async fn succeeded(&self) -> anyhow::Result<u64> {
        self.metric(r#"stackbell_deliveries_ended_total{state="succeeded"}"#).await
    }

    pub(crate) async fn attempts_in_flight(&self) -> anyhow::Result<u64> {
        self.metric("stackbell_attempts_in_flight").await
    }

    /// The number of attempts since the server started, ended or in flight.
    pub(crate) async fn attempts(&self) -> anyhow::Result<u64> {
        let mut sum = self.attempts_in_flight().await?;
        for result in ["success", "status", "throttled", "silence"] {
            sum += self.metric(&format!(r#"stackbell_attempts_total{{result="{result}"}}"#)).await?;
        }
        Ok(sum)
    }

    /// Puts sending on hold.
    pub(crate) async fn hold(&self) -> anyhow::Result<()> {
        self.operate("hold", r#"{"reason":"a backlog"}"#).await
    }

    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        self.operate("resume", "").await
    }

    async fn operate(&self, verb: &str, body: &str) -> anyhow::Result<()> {
        let request = Request::post(format!("/v1/instance/sending/{verb}"), body, 200);
        exchange(self.address, &signed_in(request)).await.map(drop)
    }

    async fn metric(&self, series: &str) -> anyhow::Result<u64> {
        let body = exchange(self.address, &Request::get("/metrics")).await?;
        let text = String::from_utf8_lossy(&body);
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {series}"))?.parse()?)
    }
}
