//! The process of bad endpoints: each has its own port, and all fail in the same way.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::attached::raise_open_files;
use crate::child_process::Orders;

/// The way in which an endpoint fails, or [`Self::AnswersAtOnce`] for one that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Badness {
    /// Responds 200 at once. Shows the cost of that many healthy endpoints.
    AnswersAtOnce,
    /// Accepts no connections, and the accept queue is full.
    NeverAccepts,
    /// Accepts connections, and sends nothing.
    Silent,
    /// Responds 200 just before the timeout.
    SlowAnswer,
    /// Responds at one byte per second.
    ByteASecond,
    /// Sends headers without end.
    EndlessHeaders,
    /// Sends a body without end.
    EndlessBody,
    /// Resets the connection after the request.
    Resets,
    /// Starts a TLS handshake, and continues at one byte per second.
    UnfinishedTls,
}

/// The timeout of an attempt is 15 s.
const SLOW_ANSWER_AFTER: Duration = Duration::from_secs(14);

const SEND_BUFFER_BYTES: u32 = 32 * 1024;

impl Badness {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AnswersAtOnce => "answers-at-once",
            Self::NeverAccepts => "never-accepts",
            Self::Silent => "silent",
            Self::SlowAnswer => "slow-answer",
            Self::ByteASecond => "byte-a-second",
            Self::EndlessHeaders => "endless-headers",
            Self::EndlessBody => "endless-body",
            Self::Resets => "resets",
            Self::UnfinishedTls => "unfinished-tls",
        }
    }

    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::AnswersAtOnce => "answer at once",
            Self::NeverAccepts => "never accept",
            Self::Silent => "accept and say nothing",
            Self::SlowAnswer => "answer 200 after 14 s",
            Self::ByteASecond => "answer a byte a second",
            Self::EndlessHeaders => "send headers without end",
            Self::EndlessBody => "send a body without end",
            Self::Resets => "reset the connection",
            Self::UnfinishedTls => "never finish TLS",
        }
    }

    pub(super) const fn scheme(self) -> &'static str {
        if matches!(self, Self::UnfinishedTls) { "https" } else { "http" }
    }

    async fn answer(self, mut stream: TcpStream) -> std::io::Result<()> {
        match self {
            Self::AnswersAtOnce => {
                first_bytes(&mut stream).await?;
                finish(stream).await
            }
            // Such an endpoint accepts no connection.
            Self::NeverAccepts => Ok(()),
            Self::Silent => copy(&mut stream, &mut sink()).await.map(drop),
            Self::SlowAnswer => answer_late(stream).await,
            Self::ByteASecond => {
                first_bytes(&mut stream).await?;
                drip(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await
            }
            Self::EndlessHeaders => {
                flood(stream, "HTTP/1.1 200 OK\r\n", "X-Filler: there is always one more\r\n").await
            }
            Self::EndlessBody => {
                flood(stream, "HTTP/1.1 200 OK\r\n\r\n", "there is always one more line\n").await
            }
            Self::Resets => {
                first_bytes(&mut stream).await?;
                stream.set_zero_linger()
            }
            Self::UnfinishedTls => {
                first_bytes(&mut stream).await?;
                // A handshake record of 4 KiB that contains an endless ServerHello.
                drip(stream, &[0x16, 0x03, 0x03, 0x10, 0x00, 0x02, 0x00, 0x0f, 0xfc, 0x03, 0x03]).await
            }
        }
    }
}

async fn first_bytes(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0; 4096]).await.map(drop)
}

/// Incoming data is read during the response, because closing with unread data would discard the response.
async fn answer_late(mut stream: TcpStream) -> std::io::Result<()> {
    match timeout(SLOW_ANSWER_AFTER, copy(&mut stream, &mut sink())).await {
        Ok(ended) => ended.map(drop),
        Err(_) => finish(stream).await,
    }
}

async fn finish(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
    stream.shutdown().await?;
    copy(&mut stream, &mut sink()).await.map(drop)
}

async fn drip(mut stream: TcpStream, beginning: &[u8]) -> std::io::Result<()> {
    for byte in beginning.iter().chain(std::iter::repeat(&b'x')) {
        stream.write_all(&[*byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn flood(mut stream: TcpStream, beginning: &str, line: &str) -> std::io::Result<()> {
    first_bytes(&mut stream).await?;
    stream.write_all(beginning.as_bytes()).await?;
    let lines = line.repeat(30);
    loop {
        stream.write_all(lines.as_bytes()).await?;
    }
}

/// Listens on free ports, prints them, and serves until its input ends.
pub(crate) async fn receive_badly(badness: Badness, endpoints: usize) -> anyhow::Result<()> {
    raise_open_files()?;
    let mut serving = JoinSet::new();
    let mut addresses = Vec::new();
    for _ in 0..endpoints {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // The send buffer is small, so that an endless response does not fill megabytes of system memory and use this process's
        // CPU time.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let listener = socket.listen(if badness == Badness::NeverAccepts { 1 } else { 1024 })?;
        addresses.push(listener.local_addr()?);
        if badness == Badness::NeverAccepts {
            serving.spawn(leave_alone(listener));
        } else {
            serving.spawn(serve(listener, badness));
        }
    }
    println!("{}", serde_json::to_string(&addresses)?);
    while Orders::new().next().await?.is_some() {}
    Ok(())
}

async fn serve(listener: TcpListener, badness: Badness) -> std::io::Result<()> {
    let tasks = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        tasks.spawn(badness.answer(stream));
    }
}

/// Fills the accept queue, so that the system accepts no further connections.
async fn leave_alone(listener: TcpListener) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(connected?);
    }
    std::future::pending::<()>().await;
    drop((listener, waiting));
    Ok(())
}
