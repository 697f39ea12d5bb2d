//! The full view of one delivery.

use std::io::{self, Write};

use serde_json::Value;
use stackbell_system::printable;
use ureq::http::Method;

use super::{OneArgs, state};
use crate::api::Payload;
use crate::commands::attempt::excerpt;
use crate::commands::scope::{place, subject};
use crate::commands::webhook::backing_off;
use crate::output::{Output, seconds, text};
use crate::receiver::pretty;
use crate::verb::{Verb, number_at, text_at};

pub(super) fn run(one: &OneArgs, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let path = ["v1", "orgs", &one.org, "deliveries", &one.id];
    let delivery = verb.client.call(Method::GET, &path, Payload::Empty)?;
    if verb.output == Output::Json {
        return Ok(verb.output.one(verb.out, &delivery, "")?);
    }
    print(verb.out, &delivery)?;
    Ok(())
}

fn print(out: &mut dyn Write, delivery: &Value) -> io::Result<()> {
    for (name, value) in rows(delivery) {
        writeln!(out, "{name:<10}  {value}")?;
    }
    let history = delivery.get("history").and_then(Value::as_array);
    for attempt in history.into_iter().flatten() {
        print_attempt(out, attempt)?;
    }
    writeln!(out, "\nPayload:\n\n{}", pretty(text_at(delivery, "/payload").as_bytes()))
}

fn rows(delivery: &Value) -> Vec<(&'static str, String)> {
    let time = |pointer: &str| seconds(text_at(delivery, pointer));
    let mut rows = vec![
        ("id", text(delivery.get("id"))),
        ("event", text(delivery.get("eventId"))),
        ("kind", text(delivery.get("kind"))),
        ("subject", subject(delivery)),
        ("webhook", webhook(delivery)),
        ("state", state(delivery)),
        ("created", time("/createdAt")),
    ];
    for (name, pointer) in [("rearmed", "/rearmedAt"), ("due", "/dueAt"), ("finished", "/finishedAt")] {
        if !text_at(delivery, pointer).is_empty() {
            rows.push((name, time(pointer)));
        }
    }
    if let Some(waiting) = delivery.get("waiting") {
        rows.push(("waits", waits(waiting)));
    }
    if !text_at(delivery, "/cancelledBy").is_empty() {
        rows.push(("by", text(delivery.get("cancelledBy"))));
    }
    rows.push(("attempts", text(delivery.get("attempts"))));
    rows
}

/// The reason why a delivery is not sent now.
pub(super) fn waits(waiting: &Value) -> String {
    let because = waiting.get("because").map(|because| format!(", because {}", text(Some(because))));
    let because = because.unwrap_or_default();
    let until = waiting.get("until").and_then(Value::as_str).map(seconds);
    match (text_at(waiting, "/reason"), until) {
        ("backoff" | "breaker", _) => backing_off(waiting),
        ("pace", Some(until)) => format!("its webhook's pace allows the next attempt at {until}"),
        ("pace", None) => "its webhook's pace allows no attempt now".to_owned(),
        ("busy", _) => "its endpoint has as many requests as it may get at once".to_owned(),
        ("suspended", Some(until)) => format!("its webhook is suspended{because}; it is probed at {until}"),
        ("suspended", None) => format!("its webhook is suspended{because}"),
        ("inactive", _) => format!("its webhook is inactive{because}"),
        ("sending_held", _) => "all sending is held".to_owned(),
        (reason, _) => printable(reason).into_owned(),
    }
}

fn webhook(delivery: &Value) -> String {
    let webhook = &delivery["webhook"];
    let place = place(webhook);
    let place = if place == "-" { place.replace('-', "organization") } else { place };
    let gone = if webhook["deleted"] == true { ", deleted" } else { "" };
    format!("{} ({place}{gone})", text(webhook.get("name")))
}

fn print_attempt(out: &mut dyn Write, attempt: &Value) -> io::Result<()> {
    let answer = match number_at(attempt, "/responseCode") {
        0 => text(attempt.get("error")),
        status => match text_at(attempt, "/error") {
            "" => status.to_string(),
            hidden => format!("{status}, but {}", printable(hidden)),
        },
    };
    writeln!(
        out,
        "\n{}  {}  {answer}  after {} ms",
        seconds(text_at(attempt, "/startedAt")),
        printable(text_at(attempt, "/trigger")),
        number_at(attempt, "/durationMs")
    )?;
    writeln!(out, "  > POST {}", printable(text_at(attempt, "/requestUrl")))?;
    let parts = [("  > ", "/requestHeaders"), ("  < ", "/responseHeaders"), ("  < ", "/responseBody")];
    for (mark, pointer) in parts {
        for line in excerpt(text_at(attempt, pointer)).lines() {
            writeln!(out, "{mark}{line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_reason_of_a_wait_is_printed() {
        let check = |waiting: Value, expected: &str| assert_eq!(waits(&waiting), expected);
        let until = "2026-05-13T06:19:04.070Z";
        let failed = json!({"reason": "backoff", "until": until, "because": "the endpoint answered 503"});
        check(failed, "backing off until 2026-05-13T06:19:04Z, because the endpoint answered 503");
        check(json!({"reason": "breaker", "because": "no such host"}), "backing off, because no such host");
        check(
            json!({"reason": "pace", "until": until}),
            "its webhook's pace allows the next attempt at 2026-05-13T06:19:04Z",
        );
        check(
            json!({"reason": "suspended", "until": until, "because": "the endpoint answered 410"}),
            "its webhook is suspended, because the endpoint answered 410; it is probed at 2026-05-13T06:19:04Z",
        );
        check(
            json!({"reason": "inactive", "because": "it moves"}),
            "its webhook is inactive, because it moves",
        );
        check(json!({"reason": "sending_held"}), "all sending is held");
        check(json!({"reason": "unknown to this client"}), "unknown to this client");
    }

    #[test]
    fn a_delivery_is_printed_with_state_and_payload() {
        let delivery = json!({
            "id": "d", "eventId": "e", "kind": "stack", "projectName": "p", "stackName": "s", "state": "cancelled",
            "cancelReason": "asked", "cancelledBy": "builder", "createdAt": "2026-05-13T06:19:04.070Z",
            "finishedAt": "2026-05-13T06:19:05.070Z", "attempts": 1, "payload": "{\"n\":1.0}",
            "webhook": {"id": "w", "name": "ci", "scope": "organization", "deleted": true},
            "history": [{
                "trigger": "event", "startedAt": "2026-05-13T06:19:04.070Z", "durationMs": 7,
                "requestUrl": "https://a.example", "requestHeaders": "Accept: */*\r\n", "responseCode": 503,
                "responseHeaders": "A: b\r\n", "responseBody": "busy\u{1b}[0m",
            }],
        });
        let mut printed = Vec::new();
        print(&mut printed, &delivery).expect("written");
        let expected = "\
id          d
event       e
kind        stack
subject     p/s
webhook     ci (organization, deleted)
state       cancelled: asked
created     2026-05-13T06:19:04Z
finished    2026-05-13T06:19:05Z
by          builder
attempts    1

2026-05-13T06:19:04Z  event  503  after 7 ms
  > POST https://a.example
  > Accept: */*
  < A: b
  < busy\\u{1b}[0m

Payload:

{
  \"n\": 1.0
}
";
        assert_eq!(String::from_utf8(printed).expect("text"), expected);
    }
}
