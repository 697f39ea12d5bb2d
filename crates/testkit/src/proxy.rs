//! A TCP proxy that has faults when it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a [`Proxy`] does to what goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every piece comes this much later, in both directions.
    Delay(Duration),
    /// Nothing comes through, and connections stay as they are: a network that is cut off.
    Stall,
    /// Connections are closed as they come.
    Refuse,
    /// The next request that has these bytes in it never arrives: its connection is closed before. Then no more faults.
    LoseRequest(&'static [u8]),
    /// The next request that has these bytes in it arrives and is answered, but its connection is closed before the answer
    /// comes through. Then no more faults.
    LoseAnswer(&'static [u8]),
    /// The one, and at the next such request the other.
    LoseRequestThenAnswer(&'static [u8]),
}

/// A proxy on loopback. Dropped, it closes all its connections.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    cut: watch::Sender<CancellationToken>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts one in front of a server on loopback.
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

    /// What it does from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// What it does now.
    pub fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Closes all connections that there are.
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
    // The answer to a lost one is taken here, so that it is known to be there.
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

/// Waits as long as a piece has to.
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
