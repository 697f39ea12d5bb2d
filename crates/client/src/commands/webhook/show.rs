//! The full view of one webhook.

use serde_json::Value;
use ureq::http::Method;

use super::OneArgs;
use crate::api::Payload;
use crate::output::{Output, seconds, text};
use crate::verb::{Verb, text_at};

/// The events of a webhook without filters and groups.
const EVERYTHING: &str = "everything in its scope";

pub(super) fn run(one: &OneArgs, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    // This request fails if the webhook is missing.
    verb.client.call(Method::GET, &one.scope.hook(&one.org, &one.name), Payload::Empty)?;
    // Pulumi's API does not show a webhook's health.
    let found = one.scope.find(verb, &one.org, &one.name)?;
    // Lists leave out the reason why a circuit breaker is open.
    let path = ["v1", "orgs", &one.org, "webhooks", text_at(&found, "/id")];
    let webhook = verb.client.call(Method::GET, &path, Payload::Empty)?;
    if verb.output == Output::Json {
        return Ok(verb.output.one(verb.out, &webhook, "")?);
    }
    let mut rows = rows(&webhook);
    rows.insert(0, ("scope", one.scope.place(&one.org)));
    for (name, value) in rows {
        writeln!(verb.out, "{name:<16}  {value}")?;
    }
    Ok(())
}

fn rows(webhook: &Value) -> Vec<(&'static str, String)> {
    let mut rows: Vec<_> =
        [("name", "/name"), ("display name", "/displayName"), ("url", "/payloadUrl"), ("format", "/format")]
            .into_iter()
            .map(|(name, pointer)| (name, text(webhook.pointer(pointer))))
            .collect();
    rows.push(("hears of", interests(webhook)));
    rows.push(("secret", if webhook["hasSecret"] == true { "set" } else { "none: not signed" }.to_owned()));
    rows.push(("state", super::state(webhook)));
    if let Some(since) = webhook.pointer("/suspension/since").and_then(Value::as_str) {
        rows.push(("suspended since", seconds(since)));
    }
    if let Some(breaker) = breaker(webhook) {
        rows.push(("breaker", breaker));
    }
    rows.push(("headers", headers(webhook).to_owned()));
    if let Some(pace) = webhook.get("attemptsPerMinute").and_then(Value::as_u64) {
        rows.push(("pace", format!("at most {pace} attempts a minute")));
    }
    rows.push(("id", text(webhook.get("id"))));
    rows
}

/// Its circuit breaker in words; `None` if the server does not report it.
fn breaker(webhook: &Value) -> Option<String> {
    let breaker = webhook.get("breaker")?;
    if !super::is_backing_off(webhook) {
        return Some(text(breaker.get("state")));
    }
    let mut words = backing_off(breaker);
    if let Some(failures) = breaker.get("failures").and_then(Value::as_u64).filter(|failures| *failures > 0) {
        let since = seconds(text_at(breaker, "/failingSince"));
        words = format!("{words} ({failures} failed since {since})");
    }
    Some(format!("open: {words}"))
}

/// The time until which a webhook or a delivery waits, and the reason.
pub(crate) fn backing_off(waiting: &Value) -> String {
    let mut words = "backing off".to_owned();
    if let Some(until) = waiting.get("until").and_then(Value::as_str) {
        words = format!("{words} until {}", seconds(until));
    }
    match waiting.get("because") {
        Some(because) => format!("{words}, because {}", text(Some(because))),
        None => words,
    }
}

fn headers(webhook: &Value) -> &'static str {
    if webhook["standardHeaders"] == true { "Pulumi, Standard Webhooks" } else { "Pulumi" }
}

/// The texts in a list of a webhook.
pub(super) fn words<'v>(webhook: &'v Value, name: &str) -> Vec<&'v str> {
    let items = webhook.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The events of a webhook, in words.
pub(super) fn interests(webhook: &Value) -> String {
    let list = |name: &str| words(webhook, name).join(", ");
    let (filters, groups) = (list("filters"), list("groups"));
    let groups = if groups.is_empty() { groups } else { format!("groups: {groups}") };
    let parts = [filters, groups].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    if parts.is_empty() {
        return if text_at(webhook, "/format").is_empty() { "-" } else { EVERYTHING }.to_owned();
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn breakers_are_words() {
        let check = |overview: Value, expected: Option<&str>| {
            assert_eq!(breaker(&overview).as_deref(), expected);
        };
        check(json!({}), None);
        check(json!({"breaker": {"state": "closed"}}), Some("closed"));
        check(json!({"breaker": {"state": "open"}}), Some("open: backing off"));
        let open = json!({"breaker": {
            "state": "open", "cause": "failures", "until": "2026-05-13T06:19:04.070Z",
            "because": "the endpoint answered 503\u{1b}[0m", "failures": 7, "failingSince": "2026-05-13T06:10:04.070Z",
        }});
        check(
            open,
            Some(
                "open: backing off until 2026-05-13T06:19:04Z, because the endpoint answered 503\\u{1b}[0m \
                 (7 failed since 2026-05-13T06:10:04Z)",
            ),
        );
    }

    #[test]
    fn interests_are_words() {
        let check = |filters: Value, groups: Value, expected: &str| {
            let webhook = json!({"format": "raw", "filters": filters, "groups": groups});
            assert_eq!(interests(&webhook), expected);
        };
        check(json!([]), json!([]), EVERYTHING);
        check(json!(["update_failed", "stack_created"]), json!([]), "update_failed, stack_created");
        check(
            json!(["update_failed"]),
            json!(["policies", "stacks"]),
            "update_failed; groups: policies, stacks",
        );
    }
}
