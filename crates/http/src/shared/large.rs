//! Answers that may be large: lists of payloads.
//!
//! Each may take some MiB, and as long as its reader likes to read it. So few of them exist at once, from before the store is
//! asked until the last byte was handed to the connection; who comes beyond that waits a little and is then told to come
//! again. A reader who reads nothing at all is cut by the listener, one who reads too slowly here.

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

use super::answer::JSON;
use super::error::HttpError;

/// Large answers at once. Each holds about 4 MiB of the store's and what they become as JSON, mostly as much again.
const ANSWERS_MAX: usize = 8;

/// How long one waits for another to end.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a large answer may take to be read: 4 MiB come through 300 kbit/s in that time.
const READ_TIME_MAX: Duration = Duration::from_secs(120);

/// What is handed to the connection at once; compressing it holds up nobody.
const CHUNK_BYTES: usize = 16 * 1024;

/// Making an answer of more than this is left to a thread that may take its time.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// The room for large answers.
pub(crate) struct LargeAnswers(Arc<Semaphore>);

/// The right to make one large answer.
pub(crate) struct LargeAnswer {
    // Dropped, and with it there is room for another.
    _permit: OwnedSemaphorePermit,
}

impl Default for LargeAnswers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ANSWERS_MAX)))
    }
}

impl LargeAnswers {
    /// Waits until there is room for one more.
    ///
    /// # Errors
    /// 503 when there is none for [`WAIT_MAX`].
    pub(crate) async fn begin(&self) -> Result<LargeAnswer, HttpError> {
        let permit = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            let detail = "too many long lists are being read, try again";
            HttpError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        Ok(LargeAnswer { _permit: permit.expect("it is never closed") })
    }
}

impl LargeAnswer {
    /// Answers with what `make` makes, as JSON. It comes of about `bytes` bytes, which decides where that is done.
    ///
    /// # Errors
    /// Those of `make`, and 500 when it panics or gives what cannot be JSON.
    pub(crate) async fn json<T: Serialize>(
        self,
        bytes: u64,
        make: impl FnOnce() -> Result<T, HttpError> + Send + 'static,
    ) -> Result<Response, HttpError> {
        let write = move || {
            let text = serde_json::to_vec(&make()?);
            text.map_err(|error| HttpError::internal("the answer could not be written", error))
        };
        let text = if bytes <= INLINE_BYTES_MAX {
            write()?
        } else {
            let writing = tokio::task::spawn_blocking(write);
            writing.await.map_err(|error| HttpError::internal("the answer could not be written", error))??
        };
        let length = HeaderValue::from(text.len());
        let body = Body::from_stream(self.chunks(text.into()));
        Ok((StatusCode::OK, [(CONTENT_TYPE, JSON), (CONTENT_LENGTH, length)], body).into_response())
    }

    /// The text in chunks. There is room for the next answer once the last was taken, or this is dropped.
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
        // Whoever compresses it asks again after its end.
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

    async fn answer(room: &LargeAnswers, text: &str, bytes: u64) -> Response {
        let permit = room.begin().await.expect("there is room");
        let text = text.to_owned();
        permit.json(bytes, move || Ok(text)).await.expect("an answer")
    }

    async fn read(response: Response) -> Bytes {
        response.into_body().collect().await.expect("a whole body").to_bytes()
    }

    #[tokio::test]
    async fn an_answer_is_whole_wherever_it_is_made() {
        let room = LargeAnswers::default();
        let text = "x".repeat(3 * CHUNK_BYTES);
        for bytes in [0, INLINE_BYTES_MAX + 1] {
            let response = answer(&room, &text, bytes).await;
            assert_eq!(response.headers()[CONTENT_LENGTH], (text.len() + 2).to_string());
            assert_eq!(read(response).await, format!("\"{text}\""));
        }
        let permit = room.begin().await.expect("there is room");
        let refused = permit.json(0, || Err::<(), _>(HttpError::bad_request("no"))).await;
        assert_eq!(refused.map_err(|error| error.code()).err(), Some(400));
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_there_at_once_until_they_are_read_or_dropped() {
        let room = LargeAnswers::default();
        let mut unread = Vec::new();
        for _ in 0..ANSWERS_MAX {
            unread.push(answer(&room, "x", 0).await);
        }
        let refused = room.begin().await.err().expect("there is no room").into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        drop(unread.pop());
        unread.push(answer(&room, "y", 0).await);
        assert!(room.begin().await.is_err());
        read(unread.remove(0)).await;
        assert!(room.begin().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_too_slowly_is_cut() {
        let room = LargeAnswers::default();
        let response = answer(&room, &"x".repeat(3 * CHUNK_BYTES), 0).await;
        let mut body = response.into_body().into_data_stream();
        assert!(body.next().await.is_some_and(|chunk| chunk.is_ok()));
        tokio::time::advance(READ_TIME_MAX + Duration::from_millis(1)).await;
        assert!(body.next().await.is_some_and(|chunk| chunk.is_err()));
    }
}
