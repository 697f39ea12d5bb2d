//! Lingering close: a connection whose peer still sends is closed in two steps.
//!
//! Closing a socket with unread bytes resets the connection, and a reset discards the response that the peer has not read yet.
//! This happens to rejected requests, which get their response before their body was read. The writing half is therefore closed
//! first, and incoming bytes are discarded for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The longest time for the peer to read its response and close its half. After this time the peer is assumed to have read it.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The most bytes that are discarded: about the rest of a request of normal size.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are discarded at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// A stream whose shutdown lingers.
pub(crate) struct LingeringClose<S> {
    stream: S,
    written_at: Option<Instant>,
    closing: Closing,
}

enum Closing {
    Not,
    /// The writing half is closed.
    Half {
        over: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl<S> LingeringClose<S> {
    /// Adds the lingering close to `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, written_at: None, closing: Closing::Not }
    }

    fn begin(&self) -> Closing {
        match self.written_at {
            Some(at) if at.elapsed() < TIME_MAX => {
                Closing::Half { over: Box::pin(tokio::time::sleep(TIME_MAX)), bytes: 0 }
            }
            Some(_) | None => Closing::Done,
        }
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(_)) = written {
            self.written_at = Some(Instant::now());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringClose<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringClose<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::Not => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.closing = this.begin();
                }
                Closing::Half { over, bytes } => {
                    let is_over = over.as_mut().poll(cx).is_ready() || *bytes >= BYTES_MAX;
                    if is_over || ready!(let_go(&mut this.stream, bytes, cx)).is_break() {
                        this.closing = Closing::Done;
                    }
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Reads and counts the available bytes; breaks at the end of the stream.
fn let_go<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<std::ops::ControlFlow<()>> {
    let mut chunk = [0; CHUNK_BYTES];
    let mut buffer = ReadBuf::new(&mut chunk);
    let read = ready!(Pin::new(stream).poll_read(cx, &mut buffer));
    let length = buffer.filled().len();
    *bytes += length;
    // A lost connection counts as the end of the stream.
    let is_end = read.is_err() || length == 0;
    Poll::Ready(if is_end { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    async fn answered() -> (LingeringClose<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, mut theirs) = duplex(64 * 1024);
        let mut ours = LingeringClose::new(ours);
        ours.write_all(b"answer").await.expect("written");
        theirs.read_exact(&mut [0; 6]).await.expect("read");
        (ours, theirs)
    }

    async fn shut_down(mut ours: LingeringClose<tokio::io::DuplexStream>) -> Duration {
        let begun = Instant::now();
        ours.shutdown().await.expect("shut down");
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn incoming_bytes_are_discarded_until_the_peer_closes() {
        let (ours, mut theirs) = answered().await;
        let sending = async move {
            theirs.write_all(&vec![0; 1024 * 1024]).await.expect("taken");
            assert_eq!(theirs.read(&mut [0; 1]).await.expect("the end of the answer"), 0);
        };
        let (took, ()) = tokio::join!(shut_down(ours), sending);
        assert!(took < TIME_MAX, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_peer_is_limited() {
        let (ours, theirs) = answered().await;
        assert_eq!(shut_down(ours).await, TIME_MAX);
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_read_from_the_peer_are_limited() {
        let (ours, mut theirs) = answered().await;
        let sending = async { theirs.write_all(&vec![0; 2 * BYTES_MAX]).await };
        let (took, sent) = tokio::join!(shut_down(ours), sending);
        assert!(took < TIME_MAX, "{took:?}");
        sent.expect_err("nobody takes it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_close_does_not_linger_long_after_a_response_or_without_one() {
        let (ours, theirs) = answered().await;
        tokio::time::advance(TIME_MAX).await;
        assert_eq!(shut_down(ours).await, Duration::ZERO);
        drop(theirs);
        let (ours, theirs) = duplex(1024);
        assert_eq!(shut_down(LingeringClose::new(ours)).await, Duration::ZERO);
        drop(theirs);
    }
}
