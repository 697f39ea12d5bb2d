//! Attempts.

use std::time::Duration;

use rusqlite::{Statement, params};
use stackbell_model::delivery::Attempt;

use crate::rows::compression::{compress, size};
use stackbell_store::rows::attempt::{OutcomeColumns, outcome_columns};

pub(crate) const INSERT_ATTEMPT: &str = "/* insert_attempt */ INSERT INTO attempts \
    (delivery_number, webhook_number, trigger, started_at, duration, request_url, request_headers, outcome, \
     status, retry_after, response_headers, response_body, silence, text) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Inserts an attempt through [`INSERT_ATTEMPT`]. Returns the number of stored bytes.
pub(crate) fn insert_attempt(
    statement: &mut Statement<'_>,
    delivery_number: i64,
    webhook_number: i64,
    attempt: &Attempt,
) -> Result<i64, rusqlite::Error> {
    let OutcomeColumns { outcome, answer, silence, text } = outcome_columns(&attempt.outcome);
    let request_headers = compress(attempt.request_headers.as_bytes());
    let response_headers = answer.map(|answer| compress(answer.headers.as_bytes()));
    let response_body = answer.map(|answer| compress(answer.body.as_bytes()));
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
        silence,
        text,
    ];
    statement.execute(parameters)?;
    let response = [response_headers, response_body];
    Ok(size(&request_headers) + response.iter().flatten().map(|value| size(value)).sum::<i64>())
}

/// Converts a duration to milliseconds; saturates at three hundred million years.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
