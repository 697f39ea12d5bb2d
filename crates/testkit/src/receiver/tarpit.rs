//! Endpoints that cost their callers time.

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

/// How often one that drips lets something out.
const DRIP: Duration = Duration::from_secs(1);

/// How long a connection to a full queue is waited for until the queue counts as full.
const QUEUE_WAIT: Duration = Duration::from_millis(200);

/// The sorts of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tarpit {
    /// Accepts no connection.
    NeverAccepts,
    /// Accepts, and says nothing.
    SaysNothing,
    /// Answers with a byte a second.
    ByteASecond,
    /// Answers with one header after the other.
    EndlessHeaders,
    /// Answers 200 with a body that does not end.
    EndlessBody,
    /// Resets the connection when the request is there.
    Resets,
    /// Begins with TLS, and does not go on.
    UnfinishedTls,
    /// Answers 200, after very long: when its gate is opened.
    Late,
}

impl Tarpit {
    /// All of them.
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

    /// Whether whoever calls it has to wait. All but one that ends what it should answer.
    pub const fn holds(self) -> bool {
        !matches!(self, Self::Resets)
    }

    /// Opens one.
    ///
    /// # Panics
    /// When there is no free port.
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

/// A tarpit at work. It ends, with its connections, when dropped.
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
    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.sort == Tarpit::UnfinishedTls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// What the one that is late waits for.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// How many connections there were; none where none is accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.all.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub fn connections_max(&self) -> usize {
        self.shared.connections.open_max.load(Ordering::SeqCst)
    }
}

/// A listener whose queue is full: the system leaves further connections without a word.
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

/// One connection, until its caller has had enough.
async fn hold(mut stream: TcpStream, shared: Arc<Shared>) {
    let counts = &shared.connections;
    counts.all.fetch_add(1, Ordering::SeqCst);
    let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
    counts.open_max.fetch_max(open, Ordering::SeqCst);
    // Who answers before anything was asked breaks the connection, and holds nobody.
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

/// Ends when the caller's end does.
async fn ended(read: &mut OwnedReadHalf) {
    // What a request says is of no interest here.
    let _ = tokio::io::copy(&mut BufReader::new(read), &mut tokio::io::sink()).await;
}

/// Makes the system send a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket");
    drop(stream);
}

/// Ends only when nobody takes what it says.
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
