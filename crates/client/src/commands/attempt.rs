//! The output of one attempt from either API, and its exit code.

use std::process::ExitCode;

use serde_json::Value;
use stackbell_system::printable;

use crate::output::Output;
use crate::verb::{Verb, number_at, text_at};

/// The most characters of an endpoint's response that are shown.
const BODY_SHOWN_MAX: usize = 2000;

/// Prints the response of the endpoint. `what` is a noun for the request, with its article.
///
/// # Errors
/// If the output cannot be written.
pub(crate) fn print(verb: &mut Verb<'_>, attempt: &Value, what: &str) -> anyhow::Result<ExitCode> {
    // Some services report an error with a status of 2xx.
    let is_delivered =
        is_success(number_at(attempt, "/responseCode")) && text_at(attempt, "/error").is_empty();
    match verb.output {
        Output::Json => verb.output.one(verb.out, attempt, "")?,
        Output::Table => writeln!(verb.out, "{}", sentence(attempt, what))?,
    }
    Ok(if is_delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a status means success. Source: wire-facts.md#webhook-delivery.
pub(crate) const fn is_success(status: u64) -> bool {
    status >= 200 && status <= 299
}

fn sentence(attempt: &Value, what: &str) -> String {
    let status = number_at(attempt, "/responseCode");
    // The two APIs use different names; our own has the reason for a missing response in `error`, Pulumi's in the body.
    let took = number_at(attempt, "/duration").max(number_at(attempt, "/durationMs"));
    let texts = [text_at(attempt, "/error"), text_at(attempt, "/responseBody")];
    let body = excerpt(texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default());
    let body = if body.is_empty() { body } else { format!("\n{body}") };
    match status {
        0 => format!("{what} got no response within {took} ms.{body}"),
        _ if is_success(status) && !text_at(attempt, "/error").is_empty() => {
            format!("{what} got the response {status} after {took} ms, and failed.{body}")
        }
        _ if is_success(status) => format!("{what} got the response {status} after {took} ms.{body}"),
        _ => format!("{what} was refused: {status} after {took} ms.{body}"),
    }
}

/// The beginning of a text from outside, safe for a terminal.
pub(crate) fn excerpt(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(printable).collect();
    let text = lines.join("\n");
    match text.char_indices().nth(BODY_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attempts_are_printed() {
        let check = |status: u64, body: &str, expected: &str| {
            let attempt = json!({"responseCode": status, "duration": 7, "responseBody": body});
            assert_eq!(sentence(&attempt, "The ping"), expected);
        };
        check(204, "", "The ping got the response 204 after 7 ms.");
        check(500, "no\u{7}\nway\n", "The ping was refused: 500 after 7 ms.\nno\\u{7}\nway");
        check(0, "URL error with webhook", "The ping got no response within 7 ms.\nURL error with webhook");
    }

    #[test]
    fn attempts_of_our_own_api_are_printed_alike() {
        let attempt =
            json!({"responseCode": 0, "durationMs": 9, "responseBody": "", "error": "no such host"});
        assert_eq!(
            sentence(&attempt, "The delivery"),
            "The delivery got no response within 9 ms.\nno such host"
        );
        let hidden =
            json!({"responseCode": 200, "durationMs": 9, "responseBody": "b", "error": "HTTP error 413"});
        let expected = "The delivery got the response 200 after 9 ms, and failed.\nHTTP error 413";
        assert_eq!(sentence(&hidden, "The delivery"), expected);
    }

    #[test]
    fn long_answers_are_cut() {
        assert_eq!(excerpt(&"ä".repeat(BODY_SHOWN_MAX + 1)).chars().count(), BODY_SHOWN_MAX + 1);
        assert!(excerpt(&"ä".repeat(BODY_SHOWN_MAX)).ends_with('ä'));
    }
}
