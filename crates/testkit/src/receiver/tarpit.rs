//! Endpoints that waste their callers' time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Gate;

/// The interval at which a slow endpoint sends its next piece.
const DRIP: Duration = Duration::from_secs(1);

/// The connect timeout after which the accept queue counts as full.
const QUEUE_WAIT: Duration = Duration::from_millis(200);

/// The kinds of tarpits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tarpit {
    /// Accepts no connection.
    NeverAccepts,
    /// Accepts a connection, and sends nothing.
    SaysNothing,
    /// Sends its response at one byte per second.
    ByteASecond,
    /// Sends headers without end.
    EndlessHeaders,
    /// Responds 200 with a body without end.
    EndlessBody,
    /// Resets the connection after the request.
    Resets,
    /// Starts a TLS handshake, and does not finish it.
    UnfinishedTls,
    /// Responds 200 when its gate is opened, which may be very late.
    Late,
}

impl Tarpit {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::NeverAccepts,
        Self::SaysNothing,
        Self::ByteASecond,
        Self::EndlessHeaders,
        Self::EndlessBody,
        Self::Resets,
        Self::UnfinishedTls,
        Self::Late,
    ];

    /// Whether callers have to wait: true for all kinds except the one that resets connections.
    pub const fn holds(self) -> bool {
        !matches!(self, Self::Resets)
    }

    /// Starts a tarpit of this kind.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn open(self) -> OpenTarpit {
        let shared = Arc::new(Shared { sort: self, gate: Gate::new(), connections: Counts::default() });
        let mut tasks = JoinSet::new();
        let address = match self {
            Self::NeverAccepts => {
                let (listener, queued) = full_queue().await;
                let address = listener.local_addr().expect("bound");
                tasks.spawn(async move {
                    std::future::pending::<()>().await;
                    drop((listener, queued));
                });
                address
            }
            _ => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
                let address = listener.local_addr().expect("bound");
                tasks.spawn(accept(listener, Arc::clone(&shared)));
                address
            }
        };
        OpenTarpit { address, shared, _tasks: tasks }
    }
}

/// A running tarpit. It stops, with its connections, when dropped.
pub struct OpenTarpit {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    sort: Tarpit,
    gate: Gate,
    connections: Counts,
}

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    open_max: AtomicUsize,
    all: AtomicUsize,
}

impl OpenTarpit {
    /// A URL of this endpoint.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.sort == Tarpit::UnfinishedTls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The gate of [`Tarpit::Late`].
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The number of connections so far; 0 if none is accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.all.load(Ordering::SeqCst)
    }

    /// The highest number of simultaneous connections.
    pub fn connections_max(&self) -> usize {
        self.shared.connections.open_max.load(Ordering::SeqCst)
    }
}

/// Returns a listener with a full accept queue: the system silently ignores further connections.
async fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("bound");
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(QUEUE_WAIT, TcpStream::connect(address)).await {
        queued.push(connected.expect("queued"));
    }
    (listener, queued)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(hold(stream, Arc::clone(&shared)));
    }
}

/// Serves one connection until its caller closes it.
async fn hold(mut stream: TcpStream, shared: Arc<Shared>) {
    let counts = &shared.connections;
    counts.all.fetch_add(1, Ordering::SeqCst);
    let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
    counts.open_max.fetch_max(open, Ordering::SeqCst);
    // The request is read first, because an earlier response would break the connection and not make the caller wait.
    let _ = stream.read_u8().await;
    match shared.sort {
        Tarpit::Resets => reset(stream),
        sort => {
            let (mut read, write) = stream.into_split();
            tokio::select! {
                () = serve(sort, &shared.gate, write) => {}
                () = ended(&mut read) => {}
            }
        }
    }
    counts.open.fetch_sub(1, Ordering::SeqCst);
}

/// Returns when the caller closes its side.
async fn ended(read: &mut OwnedReadHalf) {
    // The content of the request does not matter.
    let _ = tokio::io::copy(&mut BufReader::new(read), &mut tokio::io::sink()).await;
}

/// Makes the system send a reset instead of a normal close.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket");
    drop(stream);
}

/// Returns only when the caller stops reading.
async fn serve(sort: Tarpit, gate: &Gate, mut write: OwnedWriteHalf) {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const TLS_RECORD: &[u8] = &[0x16, 3, 3, 0x40, 0];
    let mut ticks = tokio::time::interval(DRIP);
    let (head, drip): (&[u8], &[u8]) = match sort {
        Tarpit::ByteASecond => {
            for byte in HEAD {
                ticks.tick().await;
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            (b"X: ", b"y")
        }
        Tarpit::EndlessHeaders => (HEAD, b"X-One: more\r\n"),
        Tarpit::EndlessBody => (b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 1024]),
        Tarpit::UnfinishedTls => (TLS_RECORD, b""),
        Tarpit::Late => {
            gate.opened().await;
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"")
        }
        Tarpit::NeverAccepts | Tarpit::SaysNothing | Tarpit::Resets => (b"", b""),
    };
    let mut written = write.write_all(head).await;
    while written.is_ok() {
        ticks.tick().await;
        written = write.write_all(drip).await;
    }
}
