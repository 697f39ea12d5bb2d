//! A TCP proxy that injects faults.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The fault that a [`Proxy`] injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// Every piece is delayed by this time, in both directions.
    Delay(Duration),
    /// Nothing gets through, and connections stay open, as on a broken network.
    Stall,
    /// New connections are closed at once.
    Refuse,
    /// The connection is closed before the next request that contains these bytes is forwarded. Then the
    /// faults end.
    LoseRequest(&'static [u8]),
    /// The next request that contains these bytes is forwarded, but its connection is closed before the
    /// response gets through. Then the faults end.
    LoseAnswer(&'static [u8]),
    /// First [`Self::LoseRequest`], then [`Self::LoseAnswer`] at the next such request.
    LoseRequestThenAnswer(&'static [u8]),
}

/// A proxy on loopback. It closes all its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    cut: watch::Sender<CancellationToken>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of a server on loopback.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (fault, cut) = (watch::Sender::new(Fault::None), watch::Sender::new(CancellationToken::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, fault.clone(), cut.clone()));
        Self { address, fault, cut, _accepting: accepting }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the fault.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns the current fault.
    pub fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Closes all open connections.
    pub fn cut(&self) {
        self.cut.send_replace(CancellationToken::new()).cancel();
    }
}

async fn accept(
    listener: TcpListener,
    target: u16,
    fault: watch::Sender<Fault>,
    cut: watch::Sender<CancellationToken>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if *fault.borrow() == Fault::Refuse {
            continue;
        }
        let (fault, cut) = (fault.clone(), cut.borrow().clone());
        connections.spawn(async move { cut.run_until_cancelled(connect(client, target, fault)).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, target: u16, fault: watch::Sender<Fault>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket takes it");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The proxy reads the lost response, so that the server has certainly sent it.
    let is_lost = CancellationToken::new();
    tokio::select! {
        () = requests(from_client, to_server, &fault, &is_lost) => {}
        () = answers(from_server, to_client, &fault, &is_lost) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: &watch::Sender<Fault>,
    is_lost: &CancellationToken,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let piece = &piece[..length];
        let mut loses_request = false;
        fault.send_if_modified(|fault| match *fault {
            Fault::LoseRequest(bytes) if has(piece, bytes) => {
                loses_request = true;
                *fault = Fault::None;
                true
            }
            Fault::LoseRequestThenAnswer(bytes) if has(piece, bytes) => {
                loses_request = true;
                *fault = Fault::LoseAnswer(bytes);
                true
            }
            Fault::LoseAnswer(bytes) if has(piece, bytes) => {
                is_lost.cancel();
                *fault = Fault::None;
                true
            }
            _ => false,
        });
        if loses_request {
            return;
        }
        pass(fault).await;
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: &watch::Sender<Fault>,
    is_lost: &CancellationToken,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        pass(fault).await;
        if is_lost.is_cancelled() || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits for the delay of a piece, or for the end of a stall.
async fn pass(fault: &watch::Sender<Fault>) {
    let now = *fault.borrow();
    match now {
        Fault::Delay(duration) => tokio::time::sleep(duration).await,
        Fault::Stall => {
            let mut changes = fault.subscribe();
            let _ = changes.wait_for(|fault| *fault != Fault::Stall).await;
        }
        Fault::None
        | Fault::Refuse
        | Fault::LoseRequest(_)
        | Fault::LoseAnswer(_)
        | Fault::LoseRequestThenAnswer(_) => {}
    }
}

fn has(piece: &[u8], bytes: &[u8]) -> bool {
    piece.windows(bytes.len()).any(|window| window == bytes)
}
