//! Attempts.

use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome, Response, Silence};

use super::Columns;

/// The columns of `attempts a`.
#[macro_export]
macro_rules! attempt_columns {
    () => {
        "a.number, a.trigger, a.started_at, a.duration, a.request_url, a.request_headers, a.outcome, a.status, \
         a.retry_after, a.response_headers, a.response_body, a.silence, a.text"
    };
}

/// Reads an attempt: its identifying columns, then `trigger` to `text`.
///
/// # Errors
/// If the row is not valid.
pub fn read_attempt<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Attempt, C::Fault> {
    cursor.enter("attempts");
    cursor.skip("number")?;
    Ok(Attempt {
        trigger: cursor.word("trigger", AttemptTrigger::parse)?,
        started_at: cursor.time("started_at")?,
        duration: cursor.duration("duration")?,
        request_url: cursor.text("request_url")?.into(),
        request_headers: cursor.decompressed_text("request_headers")?.unwrap_or_default(),
        outcome: read_outcome(cursor)?,
    })
}

fn read_outcome<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Outcome, C::Fault> {
    let outcome = cursor.text("outcome")?;
    let status: Option<u16> = cursor.number_or_null("status")?;
    let retry_after = cursor.duration_or_null("retry_after")?;
    let headers = cursor.decompressed_text("response_headers")?;
    let body = cursor.decompressed_text("response_body")?;
    let silence = cursor.text_or_null("silence")?.and_then(parse_silence);
    let text = cursor.text_or_null("text")?;
    match (outcome, status.zip(headers).zip(body), silence, text) {
        ("answered", Some(((status, headers), body)), None, None) => {
            Ok(Outcome::Answered(Response { status, headers, body, retry_after }))
        }
        ("throttled", Some(((status, headers), body)), None, None) => {
            Ok(Outcome::HiddenError(Response { status, headers, body, retry_after }))
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
pub struct OutcomeColumns<'outcome> {
    /// The kind of the outcome.
    pub outcome: &'static str,
    /// The endpoint's response.
    pub answer: Option<&'outcome Response>,
    /// The reason why there was no response.
    pub silence: Option<&'static str>,
    /// The reason, for users.
    pub text: Option<&'outcome str>,
}

/// Splits an outcome into its columns.
pub fn outcome_columns(outcome: &Outcome) -> OutcomeColumns<'_> {
    let none = OutcomeColumns::default();
    match outcome {
        Outcome::Answered(answer) => OutcomeColumns { outcome: "answered", answer: Some(answer), ..none },
        Outcome::HiddenError(answer) => OutcomeColumns { outcome: "throttled", answer: Some(answer), ..none },
        Outcome::Unanswered { silence, text } => OutcomeColumns {
            outcome: "unanswered",
            silence: Some(silence_word(*silence)),
            text: Some(text),
            ..none
        },
        Outcome::OurFault { text } => OutcomeColumns { outcome: "our_fault", text: Some(text), ..none },
        Outcome::Undeliverable { text } => {
            OutcomeColumns { outcome: "undeliverable", text: Some(text), ..none }
        }
    }
}
