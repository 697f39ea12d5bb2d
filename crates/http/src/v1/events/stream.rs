//! NDJSON: each line is an event of its own. It is published while later lines are still arriving.
//!
//! Results come in the order of the lines. The lines in progress are limited by number and by bytes; at the limit the body is
//! not read, and the sender waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use stackbell_app::intake::AcceptedEvent;
use stackbell_http_kit::body::to_text;
use stackbell_http_kit::error::HttpError;
use stackbell_http_kit::media_type::NDJSON;
use stackbell_http_kit::response;
use stackbell_wire::rest::event::{EventsSummary, LineResult, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Span;

use super::lines::{Line, LineText, Lines};
use super::producer::{Producer, accepted};
use super::read::read_event_alone;

/// The most lines in progress: enough to fill a commit.
const LINES_IN_PROGRESS_MAX: usize = 256;

/// The most bytes of lines in progress, so that many long lines cannot fill the memory.
const BYTES_IN_PROGRESS_MAX: usize = 4 * 1024 * 1024;

/// Publishes all lines and responds with a summary.
///
/// # Errors
/// The body was not read to its end. The detail has the number of lines that were accepted before.
pub(super) async fn summarize(producer: Producer, body: Body) -> Result<Response, HttpError> {
    let mut summary = EventsSummary::default();
    let mut results = std::pin::pin!(publish_lines(producer, body));
    while let Some(result) = results.next().await {
        match result {
            Ok(result) => summary.add(result),
            Err(Broken { error, .. }) => return Err(broken(error, &summary)),
        }
    }
    Ok(response::json(StatusCode::ACCEPTED, &summary))
}

/// Publishes all lines and responds with a result for each, in order, while the body arrives. A body that breaks off counts as
/// a refused line.
pub(super) fn line_by_line(producer: Producer, body: Body) -> Response {
    let results = publish_lines(producer, body).map(|result| {
        let result = result.unwrap_or_else(|Broken { line, error }| refused(line, error));
        let mut text = serde_json::to_vec(&result)?;
        text.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(text))
    });
    (StatusCode::ACCEPTED, [(CONTENT_TYPE, NDJSON)], Body::from_stream(results)).into_response()
}

/// The body broke off in this line.
struct Broken {
    line: u64,
    error: HttpError,
}

fn publish_lines(
    producer: Producer,
    body: Body,
) -> impl Stream<Item = Result<LineResult, Broken>> + Send + 'static {
    // A line that is larger than the room would wait for ever.
    let room = BYTES_IN_PROGRESS_MAX.max(producer.line_bytes_max());
    let room = Arc::new(Semaphore::new(room));
    let lines = Lines::new(body, producer.line_bytes_max());
    let lines = stream::unfold(Some(lines), move |lines| read_on(lines, Arc::clone(&room)));
    let first_error = Arc::new(FirstError { span: Span::current(), is_logged: AtomicBool::new(false) });
    let publishing = lines.map(move |line| {
        let (producer, first_error) = (producer.clone(), Arc::clone(&first_error));
        async move {
            let (line, permit) = line?;
            let result = publish_line(&producer, &first_error, line).await;
            drop(permit);
            Ok(result)
        }
    });
    publishing.buffered(LINES_IN_PROGRESS_MAX)
}

/// The next line, once there is room for it. The error of a body that breaks off comes in order, after all lines before it.
async fn read_on(
    lines: Option<Lines>,
    room: Arc<Semaphore>,
) -> Option<(Result<(Line, OwnedSemaphorePermit), Broken>, Option<Lines>)> {
    let mut lines = lines?;
    match lines.next().await {
        Ok(line) => {
            let line = line?;
            let permit = reserve(room, &line).await;
            Some((Ok((line, permit)), Some(lines)))
        }
        Err(error) => Some((Err(Broken { line: lines.next_number(), error }), None)),
    }
}

/// Waits until there is room for `line`.
async fn reserve(room: Arc<Semaphore>, line: &Line) -> OwnedSemaphorePermit {
    let bytes = match &line.text {
        LineText::Whole(text) => u32::try_from(text.len()).expect("a line is short"),
        LineText::TooLong => 0,
    };
    room.acquire_many_owned(bytes).await.expect("it is never closed")
}

async fn publish_line(producer: &Producer, first_error: &FirstError, line: Line) -> LineResult {
    match publish_text(producer, line.text).await {
        Ok(event) => published(line.number, &event),
        Err(error) => {
            first_error.log(&error);
            refused(line.number, error)
        }
    }
}

/// Logs only the first error of the server, because all lines have the same one in an outage. It is logged in the span of the
/// request, which the handler may have left before a line is done.
struct FirstError {
    span: Span,
    is_logged: AtomicBool,
}

impl FirstError {
    fn log(&self, error: &HttpError) {
        if error.is_ours() && !self.is_logged.swap(true, Ordering::Relaxed) {
            self.span.in_scope(|| error.log());
        }
    }
}

async fn publish_text(producer: &Producer, text: LineText) -> Result<AcceptedEvent, HttpError> {
    let LineText::Whole(text) = text else {
        let max = producer.line_bytes_max();
        let detail =
            format!("a line may have at most {max} bytes (the setting payload_bytes_max and some room)");
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    };
    let event = producer.read(to_text(text)?, read_event_alone).await?;
    let accepted = producer.accept(vec![event]).await?;
    Ok(*accepted.first().expect("one receipt for each event"))
}

fn published(line: u64, event: &AcceptedEvent) -> LineResult {
    let shown = accepted(event);
    if event.duplicate {
        LineResult::Duplicate { line, event: shown }
    } else {
        LineResult::Accepted { line, event: shown }
    }
}

fn refused(line: u64, error: HttpError) -> LineResult {
    LineResult::Refused(Refusal { line, code: error.code(), message: error.into_detail() })
}

/// The error of a body that broke off. Lines that were accepted before stay accepted, and the sender must know that.
fn broken(error: HttpError, summary: &EventsSummary) -> HttpError {
    let EventsSummary { accepted, duplicates, refused, .. } = summary;
    error.explain(&format!(
        "before that, {accepted} lines were accepted, {duplicates} were known, {refused} were refused"
    ))
}
