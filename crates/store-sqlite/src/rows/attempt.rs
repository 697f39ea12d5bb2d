//! Attempts.

use std::time::Duration;

use rusqlite::{Statement, params};
use stackbell_model::delivery::{Answer, Attempt, AttemptTrigger, Outcome, Silence};

use crate::error::Fault;
use crate::rows::Cursor;
use crate::rows::packed::{pack, size};

/// Of `attempts a`.
macro_rules! attempt_columns {
    () => {
        "a.number, a.trigger, a.started_at, a.duration, a.request_url, a.request_headers, a.outcome, a.status, \
         a.retry_after, a.response_headers, a.response_body, a.silence, a.text"
    };
}
pub(crate) use attempt_columns;

pub(crate) fn read_attempt(cursor: &mut Cursor<'_>) -> Result<Attempt, Fault> {
    cursor.enter("attempts");
    cursor.raw("number")?;
    Ok(Attempt {
        trigger: cursor.word("trigger", AttemptTrigger::parse)?,
        started_at: cursor.time("started_at")?,
        duration: Duration::from_millis(cursor.count("duration")?),
        request_url: cursor.text("request_url")?.into(),
        request_headers: cursor.unpacked_text("request_headers")?.unwrap_or_default(),
        outcome: read_outcome(cursor)?,
    })
}

fn read_outcome(cursor: &mut Cursor<'_>) -> Result<Outcome, Fault> {
    let outcome = cursor.text("outcome")?;
    let status: Option<u16> = cursor.get("status")?;
    let retry_after = cursor.count_or_null("retry_after")?.map(Duration::from_millis);
    let headers = cursor.unpacked_text("response_headers")?;
    let body = cursor.unpacked_text("response_body")?;
    let silence = cursor.text_or_null("silence")?.and_then(parse_silence);
    let text = cursor.text_or_null("text")?;
    match (outcome, status.zip(headers).zip(body), silence, text) {
        ("answered", Some(((status, headers), body)), None, None) => {
            Ok(Outcome::Answered(Answer { status, headers, body, retry_after }))
        }
        ("throttled", Some(((status, headers), body)), None, None) => {
            Ok(Outcome::Throttled(Answer { status, headers, body, retry_after }))
        }
        ("unanswered", None, Some(silence), Some(text)) => {
            Ok(Outcome::Unanswered { silence, text: text.into() })
        }
        ("our_fault", None, None, Some(text)) => Ok(Outcome::OurFault { text: text.into() }),
        ("undeliverable", None, None, Some(text)) => Ok(Outcome::Undeliverable { text: text.into() }),
        _ => Err(cursor.fault("outcome", &"does not go with the columns beside it")),
    }
}

const SILENCES: &[Silence] =
    &[Silence::Forbidden, Silence::Unresolved, Silence::Unreachable, Silence::TimedOut, Silence::Broken];

const fn silence_word(silence: Silence) -> &'static str {
    match silence {
        Silence::Forbidden => "forbidden",
        Silence::Unresolved => "unresolved",
        Silence::Unreachable => "unreachable",
        Silence::TimedOut => "timed_out",
        Silence::Broken => "broken",
    }
}

fn parse_silence(word: &str) -> Option<Silence> {
    SILENCES.iter().copied().find(|silence| silence_word(*silence) == word)
}

/// The columns of an outcome.
#[derive(Default)]
struct OutcomeColumns<'outcome> {
    outcome: &'static str,
    answer: Option<&'outcome Answer>,
    silence: Option<Silence>,
    text: Option<&'outcome str>,
}

fn outcome_columns(outcome: &Outcome) -> OutcomeColumns<'_> {
    let none = OutcomeColumns::default();
    match outcome {
        Outcome::Answered(answer) => OutcomeColumns { outcome: "answered", answer: Some(answer), ..none },
        Outcome::Throttled(answer) => OutcomeColumns { outcome: "throttled", answer: Some(answer), ..none },
        Outcome::Unanswered { silence, text } => {
            OutcomeColumns { outcome: "unanswered", silence: Some(*silence), text: Some(text), ..none }
        }
        Outcome::OurFault { text } => OutcomeColumns { outcome: "our_fault", text: Some(text), ..none },
        Outcome::Undeliverable { text } => {
            OutcomeColumns { outcome: "undeliverable", text: Some(text), ..none }
        }
    }
}

pub(crate) const INSERT_ATTEMPT: &str = "/* insert_attempt */ INSERT INTO attempts \
    (delivery_number, webhook_number, trigger, started_at, duration, request_url, request_headers, outcome, \
     status, retry_after, response_headers, response_body, silence, text) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Inserts an attempt through [`INSERT_ATTEMPT`]. Answers the bytes that it stored.
pub(crate) fn insert_attempt(
    statement: &mut Statement<'_>,
    delivery_number: i64,
    webhook_number: i64,
    attempt: &Attempt,
) -> Result<i64, rusqlite::Error> {
    let OutcomeColumns { outcome, answer, silence, text } = outcome_columns(&attempt.outcome);
    let request_headers = pack(attempt.request_headers.as_bytes());
    let response_headers = answer.map(|answer| pack(answer.headers.as_bytes()));
    let response_body = answer.map(|answer| pack(answer.body.as_bytes()));
    let parameters = params![
        delivery_number,
        webhook_number,
        attempt.trigger.as_str(),
        attempt.started_at.as_millis(),
        milliseconds(attempt.duration),
        attempt.request_url,
        request_headers,
        outcome,
        answer.map(|answer| answer.status),
        answer.and_then(|answer| answer.retry_after).map(milliseconds),
        response_headers,
        response_body,
        silence.map(silence_word),
        text,
    ];
    statement.execute(parameters)?;
    let answered = [response_headers, response_body];
    Ok(size(&request_headers) + answered.iter().flatten().map(|packed| size(packed)).sum::<i64>())
}

/// Three hundred million years at the most.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
