//! Prints failed attempts as they happen. In most cases the endpoint is the developer's own.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use stackbell_client::{Client, ClientError, number_at, seconds, text_at};
use stackbell_system::printable;

/// The interval between looks at the deliveries.
const INTERVAL: Duration = Duration::from_millis(500);

/// The most deliveries of each state that a look reads, newest first. A developer has few.
const LOOKED_AT_MAX: usize = 100;

/// The states of deliveries whose last attempt may have failed.
const STATES: [&str; 2] = ["pending", "failed"];

/// The failed attempts that were printed.
pub(super) struct Failures {
    client: Arc<Client>,
    organization: String,
    /// The number of attempts of each delivery at the last look.
    attempts: HashMap<String, u64>,
}

impl Failures {
    /// Reads the attempts of earlier runs, which are not printed.
    ///
    /// # Errors
    /// If the deliveries cannot be read.
    pub(super) async fn begin(client: Arc<Client>, organization: String) -> anyhow::Result<Self> {
        let mut failures = Self { client, organization, attempts: HashMap::new() };
        let deliveries = failures.deliveries().await??;
        failures.news(&deliveries);
        Ok(failures)
    }

    /// Prints each attempt that fails from now on. Never returns without an error.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) async fn say(mut self, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.deliveries().await? {
                Ok(deliveries) => {
                    for line in self.news(&deliveries) {
                        writeln!(out, "{line}")?;
                    }
                }
                // The server is overloaded or stopping. The next look finds the attempts that this one missed.
                Err(error) => tracing::debug!(%error, "the deliveries could not be read"),
            }
        }
    }

    async fn deliveries(&self) -> anyhow::Result<Result<Vec<Value>, ClientError>> {
        let (client, organization) = (Arc::clone(&self.client), self.organization.clone());
        // The client blocks.
        let listed = tokio::task::spawn_blocking(move || {
            let path = ["v1", "orgs", &organization, "deliveries"];
            let list = |state| client.list_some(&path, &[("state", state)], Some(LOOKED_AT_MAX));
            let listed: Result<Vec<_>, _> = STATES.into_iter().map(list).collect();
            Ok(listed?.into_iter().flat_map(|listed| listed.items).collect())
        });
        listed.await.context("looking at the deliveries was interrupted")
    }

    /// A line for each delivery with a new attempt.
    fn news(&mut self, deliveries: &[Value]) -> Vec<String> {
        let attempts =
            |delivery: &Value| (text_at(delivery, "/id").to_owned(), number_at(delivery, "/attempts"));
        let is_news = |delivery: &&Value| {
            let (id, attempts) = attempts(delivery);
            attempts > self.attempts.get(&id).copied().unwrap_or_default()
        };
        let lines = deliveries.iter().filter(is_news).map(line).collect();
        self.attempts = deliveries.iter().map(attempts).collect();
        lines
    }
}

fn line(delivery: &Value) -> String {
    let why = match number_at(delivery, "/lastAttempt/responseCode") {
        0 => text_at(delivery, "/lastAttempt/error").to_owned(),
        status => format!("answered {status}"),
    };
    let next = match (text_at(delivery, "/state"), text_at(delivery, "/dueAt")) {
        ("pending", "") => "tried again later".to_owned(),
        ("pending", due) => format!("tried again at {}", seconds(due)),
        _ => format!("given up: {}", text_at(delivery, "/failReason").replace('_', " ")),
    };
    let line = format!(
        "failed    {}  {}  webhook {}: {why}; {next}",
        text_at(delivery, "/kind"),
        text_at(delivery, "/eventId"),
        text_at(delivery, "/webhook/name"),
    );
    printable(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stackbell_client::{ClientSettings, parse_server};

    fn failures() -> Failures {
        let url = parse_server("http://127.0.0.1:1").expect("a URL");
        let client = Client::new(ClientSettings { url, token: None, ca_file: None }).expect("made");
        Failures { client: Arc::new(client), organization: "acme".to_owned(), attempts: HashMap::new() }
    }

    fn delivery(attempts: u64, state: &str, code: u16) -> Value {
        json!({
            "id": "d", "eventId": "e", "kind": "stack_update", "webhook": {"name": "mine"}, "state": state,
            "attempts": attempts, "dueAt": "2026-05-13T06:19:04.070Z", "failReason": "attempts_exhausted",
            "lastAttempt": {"responseCode": code, "error": "127.0.0.1:3000 refused the connection\u{1b}"},
        })
    }

    #[test]
    fn each_attempt_is_printed_once() {
        let mut failures = failures();
        let refused = "failed    stack_update  e  webhook mine: 127.0.0.1:3000 refused the connection\\u{1b}; \
                       tried again at 2026-05-13T06:19:04Z";
        assert_eq!(failures.news(&[delivery(0, "pending", 0)]), [""; 0]);
        assert_eq!(failures.news(&[delivery(1, "pending", 0)]), [refused]);
        assert_eq!(failures.news(&[delivery(1, "pending", 0)]), [""; 0]);
        let given_up = "failed    stack_update  e  webhook mine: answered 500; given up: attempts exhausted";
        assert_eq!(failures.news(&[delivery(2, "failed", 500)]), [given_up]);
    }
}
