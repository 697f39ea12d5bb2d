//! What is learned of a server while TLS is set up, so that a failure can be put into words.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whether a server asked for a client's certificate. There is none to show.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsRequests(Arc<Requested>);

#[derive(Debug, Default)]
struct Requested(AtomicBool);

impl TlsRequests {
    /// The same configuration, for one connection.
    pub(super) fn watching(&self, config: &ClientConfig) -> ClientConfig {
        let mut config = config.clone();
        config.client_auth_cert_resolver = Arc::<Requested>::clone(&self.0);
        config
    }

    pub(super) fn were_made(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }
}

impl ResolvesClientCert for Requested {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// A stream of which the first bytes that come are remembered.
pub(super) struct Greeting {
    stream: TcpStream,
    first: [u8; Self::HTTP.len()],
    count: usize,
}

impl Greeting {
    const HTTP: &[u8] = b"HTTP/";

    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, first: [0; _], count: 0 }
    }

    /// Whether the server speaks HTTP without TLS.
    pub(super) fn is_http(&self) -> bool {
        self.first == Self::HTTP
    }
}

impl AsyncRead for Greeting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let room = self.first.len() - self.count;
        if room > 0 {
            let read = &buffer.filled()[start..];
            let read = &read[..read.len().min(room)];
            let count = self.count;
            self.first[count..count + read.len()].copy_from_slice(read);
            self.count += read.len();
        }
        polled
    }
}

impl AsyncWrite for Greeting {
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
