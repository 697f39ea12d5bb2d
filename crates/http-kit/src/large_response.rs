//! Responses that may be large: lists of payloads.
//!
//! Each may take several MiB of memory, for as long as its reader takes. Only a few exist at once, counted from before the
//! store is asked until the last byte is handed to the connection. Another request waits a little for one of them to end,
//! and is then told to try again. The listener cuts off a reader that reads nothing; a reader that is too slow is cut off
//! here.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::HttpError;
use crate::media_type::JSON;

/// The most large responses at once. Each holds about 4 MiB from the store, and usually as much again as JSON.
const RESPONSES_MAX: usize = 8;

/// The most time that a request waits for another large response to end.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The most time that the reader of a large response may take: 4 MiB at 300 kbit/s.
const READ_TIME_MAX: Duration = Duration::from_secs(120);

/// The bytes that are handed to the connection at once. Compressing them holds up no other task.
const CHUNK_BYTES: usize = 16 * 1024;

/// A response of more bytes than this is written by a blocking thread.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// The room for large responses.
pub struct LargeResponses(Arc<Semaphore>);

/// The permit to make one large response.
pub struct LargeResponse {
    // Frees the room for another response when it is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Default for LargeResponses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(RESPONSES_MAX)))
    }
}

impl LargeResponses {
    /// Waits until there is room for one more.
    ///
    /// # Errors
    /// 503 if there is no room for `WAIT_MAX`.
    pub async fn begin(&self) -> Result<LargeResponse, HttpError> {
        let permit = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            let detail = "too many long lists are being read, try again";
            HttpError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        Ok(LargeResponse { _permit: permit.expect("it is never closed") })
    }
}

impl LargeResponse {
    /// The result of `make` as JSON. `bytes` is its approximate size and decides which thread writes it.
    ///
    /// # Errors
    /// Those of `make`; 500 if it panics or its result cannot be JSON.
    pub async fn json<T: Serialize>(
        self,
        bytes: u64,
        make: impl FnOnce() -> Result<T, HttpError> + Send + 'static,
    ) -> Result<Response, HttpError> {
        let write = move || {
            let text = serde_json::to_vec(&make()?);
            text.map_err(|error| HttpError::internal("the response could not be written", error))
        };
        let text = if bytes <= INLINE_BYTES_MAX {
            write()?
        } else {
            let writing = tokio::task::spawn_blocking(write);
            writing
                .await
                .map_err(|error| HttpError::internal("the response could not be written", error))??
        };
        let headers =
            [(CONTENT_TYPE, HeaderValue::from_static(JSON)), (CONTENT_LENGTH, HeaderValue::from(text.len()))];
        let body = Body::from_stream(self.chunks(text.into()));
        Ok((StatusCode::OK, headers, body).into_response())
    }

    /// The text in chunks. The permit is free once the last chunk was taken, or the stream is dropped.
    fn chunks(self, text: Bytes) -> impl Stream<Item = Result<Bytes, ReadTooSlowly>> {
        let until = Instant::now() + READ_TIME_MAX;
        let chunks = stream::unfold((self, text), move |(permit, mut rest)| async move {
            if rest.is_empty() {
                return None;
            }
            if Instant::now() > until {
                return Some((Err(ReadTooSlowly), (permit, Bytes::new())));
            }
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            Some((Ok(chunk), (permit, rest)))
        });
        // The compression layer polls again after the end.
        chunks.fuse()
    }
}

/// The reader took too long; the connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("a long list was not read within {READ_TIME_MAX:?}")]
struct ReadTooSlowly;

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body_util::BodyExt;

    use super::*;

    async fn respond(room: &LargeResponses, text: &str, bytes: u64) -> Response {
        let permit = room.begin().await.expect("there is room");
        let text = text.to_owned();
        permit.json(bytes, move || Ok(text)).await.expect("a response")
    }

    async fn read(response: Response) -> Bytes {
        response.into_body().collect().await.expect("a whole body").to_bytes()
    }

    #[tokio::test]
    async fn a_response_is_whole_whichever_thread_writes_it() {
        let room = LargeResponses::default();
        let text = "x".repeat(3 * CHUNK_BYTES);
        for bytes in [0, INLINE_BYTES_MAX + 1] {
            let response = respond(&room, &text, bytes).await;
            assert_eq!(response.headers()[CONTENT_LENGTH], (text.len() + 2).to_string());
            assert_eq!(read(response).await, format!("\"{text}\""));
        }
        let permit = room.begin().await.expect("there is room");
        let refused = permit.json(0, || Err::<(), _>(HttpError::bad_request("no"))).await;
        assert_eq!(refused.map_err(|error| error.code()).err(), Some(400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_exist_at_once_until_they_are_read_or_dropped() {
        let room = LargeResponses::default();
        let mut unread = Vec::new();
        for _ in 0..RESPONSES_MAX {
            unread.push(respond(&room, "x", 0).await);
        }
        let refused = room.begin().await.err().expect("there is no room").into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        drop(unread.pop());
        unread.push(respond(&room, "y", 0).await);
        assert!(room.begin().await.is_err());
        read(unread.remove(0)).await;
        assert!(room.begin().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_cut_off() {
        let room = LargeResponses::default();
        let response = respond(&room, &"x".repeat(3 * CHUNK_BYTES), 0).await;
        let mut body = response.into_body().into_data_stream();
        assert!(body.next().await.is_some_and(|chunk| chunk.is_ok()));
        tokio::time::advance(READ_TIME_MAX + Duration::from_millis(1)).await;
        assert!(body.next().await.is_some_and(|chunk| chunk.is_err()));
    }
}
