//! Queries to the node's API.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use stackbell_testkit::{Answer, Client};
use tokio::time::{sleep, timeout};

use crate::endpoint::{Endpoint, Key, WEBHOOKS, key};
use crate::load::EVENTS;

/// The request timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// The backoff after a rejected request.
const RETRY_AFTER: Duration = Duration::from_millis(10);

const DELIVERIES: &str = "/v1/orgs/acme/deliveries";

/// Sends a request, and retries it while the node rejects it as overloaded.
async fn ask(client: &Client, method: Method, path: &str, body: Bytes) -> anyhow::Result<Answer> {
    loop {
        let asked = client.try_send(method.clone(), path, &[], body.clone());
        let answer = timeout(PATIENCE, asked).await.context("no answer")?;
        let answer = answer.map_err(|error| anyhow::anyhow!(error))?;
        if answer.status != 503 {
            return Ok(answer);
        }
        sleep(RETRY_AFTER).await;
    }
}

/// Calls `each` for the items of a list, until it breaks or the list ends.
async fn list(
    client: &Client,
    path: &str,
    mut each: impl FnMut(&Value) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let mut token = String::new();
    loop {
        let answer = ask(client, Method::GET, &format!("{path}{token}"), Bytes::new()).await?;
        if answer.status != 200 {
            bail!("{path} was answered {}: {}", answer.status, answer.text());
        }
        let page: Vec<Value> = serde_json::from_slice(&answer.body)?;
        for thing in &page {
            if each(thing)?.is_break() {
                return Ok(());
            }
        }
        match answer.headers.get("pulumi-continuation-token") {
            Some(next) => token = format!("&continuationToken={}", next.to_str()?),
            None => return Ok(()),
        }
    }
}

/// Registers the webhooks. Existing ones are accepted.
pub(crate) async fn register(client: &Client, endpoint: &Endpoint) -> anyhow::Result<()> {
    for name in WEBHOOKS {
        let webhook = json!({
            "organizationName": "acme", "name": name, "displayName": name, "active": true,
            "payloadUrl": endpoint.url(name), "secret": "a secret",
        });
        let answer = ask(client, Method::POST, "/api/orgs/acme/hooks", webhook.to_string().into()).await?;
        if !matches!(answer.status, 201 | 409) {
            bail!("registering a webhook was answered {}: {}", answer.status, answer.text());
        }
    }
    Ok(())
}

/// Returns the events of this set that the node does not have.
pub(crate) async fn missing_events(
    client: &Client,
    events: &BTreeSet<Box<str>>,
) -> anyhow::Result<BTreeSet<Box<str>>> {
    let mut missing = events.clone();
    if missing.is_empty() {
        return Ok(missing);
    }
    list(client, &format!("{EVENTS}?pageSize=100"), |event| {
        missing.remove(event["id"].as_str().context("an event's id")?);
        Ok(if missing.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .await?;
    Ok(missing)
}

/// Returns the newest deliveries with a recorded success.
pub(crate) async fn newest_succeeded(client: &Client) -> anyhow::Result<Vec<Key>> {
    let path = format!("{DELIVERIES}?state=succeeded&pageSize=100");
    let answer = ask(client, Method::GET, &path, Bytes::new()).await?;
    let page: Vec<Value> = serde_json::from_slice(&answer.body)?;
    page.iter().map(key).collect()
}

/// Returns all deliveries with their states.
pub(crate) async fn deliveries(client: &Client) -> anyhow::Result<Vec<(Key, String)>> {
    let mut all = Vec::new();
    list(client, &format!("{DELIVERIES}?pageSize=100"), |delivery| {
        let state = delivery["state"].as_str().context("a delivery's state")?;
        all.push((key(delivery)?, state.to_owned()));
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(all)
}

/// Returns the number of pending deliveries.
pub(crate) async fn pending(client: &Client) -> anyhow::Result<u64> {
    let answer = ask(client, Method::GET, "/v1/orgs/acme/statistics", Bytes::new()).await?;
    let statistics: Value = serde_json::from_slice(&answer.body)?;
    statistics["usage"]["pending"].as_u64().context("how many are pending")
}
