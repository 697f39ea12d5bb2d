//! One connection: it reads requests and writes replies until either side closes it.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Request, Shared};

/// Serves a connection, with or without TLS. A connection without a valid TLS handshake is closed.
pub(super) async fn begin(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // A small response must be sent at once, without waiting for more data.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, shared).await;
            }
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let reply = shared.take(request);
        if let Some(gate) = &reply.gate {
            gate.opened().await;
        }
        if reply.is_silent {
            return;
        }
        let mut answer = BytesMut::from(reply.head().as_bytes());
        answer.extend_from_slice(&reply.body);
        // The sender may be gone, because some tests end it on purpose.
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads the next request; `None` at the end of the connection or if the data is not a request.
async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<Request> {
    let head_end = loop {
        match buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(position) => break position,
            None => more(stream, buffer).await?,
        }
    };
    let head = String::from_utf8(buffer.split_to(head_end).into()).ok()?;
    buffer.advance(4);
    let mut request = parse(&head)?;
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>).ok()?;
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    // The body is copied, so that it does not keep the whole buffer alive.
    request.body = Bytes::copy_from_slice(&buffer.split_to(length));
    Some(request)
}

async fn more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<()> {
    stream.read_buf(buffer).await.ok().filter(|read| *read > 0).map(drop)
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.map(|line| line.split_once(':'));
    let headers = headers.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
    Some(Request { method, path, headers: headers.collect::<Option<_>>()?, body: Bytes::new() })
}
