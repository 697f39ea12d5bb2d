//! The insertion of all attempts of a batch in one statement.

use stackbell_model::delivery::{Attempt, AttemptTrigger};
use stackbell_model::ids::DeliveryId;
use stackbell_store::rows::attempt::outcome_columns;
use stackbell_store::rows::{Id as _, milliseconds};
use uuid::Uuid;

use super::length;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(INSERT_ATTEMPTS = "/* commit.insert_attempts */ INSERT INTO attempts (delivery_id, webhook_number, trigger, \
    started_at, duration, request_url, request_headers, outcome, status, retry_after, response_headers, response_body, \
    silence, text) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], \
        $8::text[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[], $13::text[], $14::text[])";
    UUID_ARRAY, INT8_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, TEXT_ARRAY, BYTEA_ARRAY, TEXT_ARRAY, INT8_ARRAY,
    INT8_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, TEXT_ARRAY, TEXT_ARRAY);

/// The rows of attempts, as columns.
#[derive(Default)]
pub(super) struct AttemptRows<'batch> {
    deliveries: Vec<Uuid>,
    webhook_numbers: Vec<i64>,
    triggers: Vec<&'static str>,
    started_at: Vec<i64>,
    durations: Vec<i64>,
    request_urls: Vec<&'batch str>,
    request_headers: Vec<&'batch [u8]>,
    outcomes: Vec<&'static str>,
    statuses: Vec<Option<i64>>,
    retry_after: Vec<Option<i64>>,
    response_headers: Vec<Option<&'batch [u8]>>,
    response_bodies: Vec<Option<&'batch [u8]>>,
    silences: Vec<Option<&'static str>>,
    texts: Vec<Option<&'batch str>>,
}

impl<'batch> AttemptRows<'batch> {
    /// Adds an attempt. Returns the number of bytes that it stores.
    pub(super) fn push(
        &mut self,
        delivery: DeliveryId,
        webhook_number: i64,
        attempt: &'batch Attempt,
    ) -> i64 {
        let columns = outcome_columns(&attempt.outcome);
        let answer = columns.answer;
        let headers = answer.map(|answer| answer.headers.as_bytes());
        let body = answer.map(|answer| answer.body.as_bytes());
        self.deliveries.push(delivery.uuid());
        self.webhook_numbers.push(webhook_number);
        self.triggers.push(AttemptTrigger::as_str(attempt.trigger));
        self.started_at.push(attempt.started_at.as_millis());
        self.durations.push(milliseconds(attempt.duration));
        self.request_urls.push(&attempt.request_url);
        self.request_headers.push(attempt.request_headers.as_bytes());
        self.outcomes.push(columns.outcome);
        self.statuses.push(answer.map(|answer| i64::from(answer.status)));
        self.retry_after.push(answer.and_then(|answer| answer.retry_after).map(milliseconds));
        self.response_headers.push(headers);
        self.response_bodies.push(body);
        self.silences.push(columns.silence);
        self.texts.push(columns.text);
        length(attempt.request_headers.as_bytes()) + headers.map_or(0, length) + body.map_or(0, length)
    }

    pub(super) async fn insert(&self, tx: &Transaction) -> Result<u64, Fault> {
        tx.change(
            &INSERT_ATTEMPTS,
            &[
                &self.deliveries,
                &self.webhook_numbers,
                &self.triggers,
                &self.started_at,
                &self.durations,
                &self.request_urls,
                &self.request_headers,
                &self.outcomes,
                &self.statuses,
                &self.retry_after,
                &self.response_headers,
                &self.response_bodies,
                &self.silences,
                &self.texts,
            ],
        )
        .await
    }
}
