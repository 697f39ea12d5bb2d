//! The byte stream between the socket and hyper. Heads of responses are parsed here, and hyper gets plain ones.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{Fed, Head, HeadReader};

/// The state of the current exchange, shared by the stream and the client.
#[derive(Debug, Default)]
pub(super) struct Exchanging {
    /// A request is about to be written, so the next bytes start a response.
    is_awaited: AtomicBool,
    has_begun: AtomicBool,
    head: Mutex<Option<Head>>,
}

impl Exchanging {
    /// Must be called before each request.
    pub(super) fn begin(&self) {
        self.has_begun.store(false, Ordering::SeqCst);
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// Whether the first byte of the response has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// Takes the head of the response, once hyper has read the plain one.
    pub(super) fn take_head(&self) -> Option<Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream that replaces the head of each response with one that hyper cannot misread.
pub(super) struct AnswerStream<S> {
    stream: S,
    exchanging: Arc<Exchanging>,
    reader: HeadReader,
    is_in_head: bool,
    /// Bytes for hyper: a plain head, and the bytes that arrived together with it.
    pending: Vec<u8>,
}

impl<S> AnswerStream<S> {
    pub(super) fn new(stream: S, exchanging: Arc<Exchanging>) -> Self {
        let reader = HeadReader::default();
        Self { stream, exchanging, reader, is_in_head: false, pending: Vec::new() }
    }

    fn head_is_whole(&mut self, head: Head) {
        *self.exchanging.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        self.is_in_head = false;
        self.reader.restart();
    }

    fn give_pending(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.pending.len().min(buffer.remaining());
        buffer.put_slice(&self.pending[..count]);
        self.pending.drain(..count);
    }
}

impl<S: AsyncRead + Unpin> AnswerStream<S> {
    /// Reads until the head is complete, or the stream has no more data for now.
    fn poll_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        loop {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let read = &buffer.filled()[start..];
            let whole = if read.is_empty() {
                Ok(self.reader.end().map(|head| (head, 0)))
            } else {
                self.exchanging.has_begun.store(true, Ordering::SeqCst);
                self.reader.feed(read).map(|fed| match fed {
                    Fed::Done(head, end) => Some((head, end)),
                    Fed::More => None,
                })
            };
            let is_end = read.is_empty();
            match whole.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                Some((head, end)) => {
                    self.pending.clear();
                    head.write_plain(&mut self.pending);
                    self.pending.extend_from_slice(&read[end..]);
                    buffer.set_filled(start);
                    self.head_is_whole(head);
                    self.give_pending(buffer);
                    return Poll::Ready(Ok(()));
                }
                None if is_end => return Poll::Ready(Ok(())),
                None => buffer.set_filled(start),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnswerStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.pending.is_empty() {
            this.give_pending(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.exchanging.is_awaited.swap(false, Ordering::SeqCst) {
            this.is_in_head = true;
        }
        if this.is_in_head {
            this.poll_head(context, buffer)
        } else {
            Pin::new(&mut this.stream).poll_read(context, buffer)
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnswerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
