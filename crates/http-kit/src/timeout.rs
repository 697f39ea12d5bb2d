//! The time limit of requests.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::HttpError;

/// The most time that a request may take. The slowest is a ping: up to 15 s, after up to 15 s in the queue.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// Refuses a request that takes longer than [`REQUEST_TIME_MAX`].
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    match within_time(next.run(request)).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// Gives a part of a handler at most [`REQUEST_TIME_MAX`].
///
/// # Errors
/// 503 when the time is over; the work is dropped.
pub async fn within_time<T>(work: impl Future<Output = T>) -> Result<T, HttpError> {
    tokio::time::timeout(REQUEST_TIME_MAX, work).await.map_err(|_| {
        let detail = "the request took too long and may still have taken effect, check before you try again";
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_work_is_given_up() {
        assert_eq!(within_time(async { 1 }).await.ok(), Some(1));
        let given_up = within_time(std::future::pending::<()>()).await;
        let response = given_up.expect_err("it never ends").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
    }
}
