//! Write timeout: a connection is cut if its peer does not read.
//!
//! Without it, a client that sends a request and reads no response would keep its connection and the response forever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The longest wait until the peer has taken another [`BYTES_MIN`] bytes.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes that the peer must take within [`TIME_MAX`]: about 1 KiB a second. Single bytes now and then do not keep a connection
/// open.
const BYTES_MIN: usize = 32 * 1024;

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] if the peer does not read.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    waiting: Option<Waiting>,
}

/// A period in which writes wait for the peer.
struct Waiting {
    over: Pin<Box<Sleep>>,
    /// Bytes that were taken since it began.
    bytes: usize,
}

impl<S> WriteTimeout<S> {
    /// Adds the timeout to `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }

    fn judge(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.bytes = waiting.bytes.saturating_add(bytes);
                    if waiting.bytes >= BYTES_MIN {
                        self.waiting = None;
                    }
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| Waiting {
                    over: Box::pin(tokio::time::sleep_until(Instant::now() + TIME_MAX)),
                    bytes: 0,
                });
                waiting.over.as_mut().poll(cx).map(|()| {
                    let text = "the peer does not read its response";
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                })
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Callers flush after the stream has taken all bytes, so no write is waiting any more.
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_cut() {
        let (ours, theirs) = duplex(1024);
        let mut ours = WriteTimeout::new(ours);
        let written = ours.write_all(&[0; 4096]).await;
        assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        drop(theirs);
    }

    /// Reads `bytes` at every `pause`, and checks whether all of a longer text arrives.
    async fn check(bytes: usize, pause: Duration, expected: bool) {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = WriteTimeout::new(ours);
        let reading = async {
            let mut buffer = vec![0; bytes];
            while theirs.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        };
        let writing = async {
            let written = ours.write_all(&vec![0; 256 * 1024]).await;
            drop(ours);
            written.is_ok()
        };
        let (was_written, ()) = tokio::join!(writing, reading);
        assert_eq!(was_written, expected, "{bytes} bytes every {pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_cut_only_if_it_reads_nearly_nothing() {
        check(1024, Duration::from_millis(500), true).await;
        check(1, Duration::from_secs(5), false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_all_bytes_are_taken() {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = WriteTimeout::new(ours);
        for _ in 0..2 {
            let mut buffer = vec![0; 2048];
            let (written, read) = tokio::join!(
                async {
                    ours.write_all(&[0; 2048]).await?;
                    ours.flush().await
                },
                theirs.read_exact(&mut buffer)
            );
            assert!(written.is_ok() && read.is_ok());
            tokio::time::advance(2 * TIME_MAX).await;
        }
    }
}
