use super::*;
use axum::routing::{get, post};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

use crate::tls::testing::{Authority, Files};

async fn start(router: Router) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Listener::start(socket, Protection::Plain, router).expect("started")
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_closes_idle_connections() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (in_handler, may_leave) = (Arc::clone(&entered), Arc::clone(&leave));
    let router = Router::new().route(
        "/",
        get(|ConnectInfo(remote): ConnectInfo<SocketAddr>| async move {
            in_handler.notify_one();
            may_leave.notified().await;
            remote.ip().to_string()
        }),
    );
    let listener = start(router).await;
    let address = listener.address();
    let mut idle = TcpStream::connect(address).await.expect("connected");
    let mut busy = TcpStream::connect(address).await.expect("connected");
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    entered.notified().await;
    let soft = listener.soft.clone();
    let stop = listener.stop(Duration::from_secs(60));
    let client = async {
        soft.cancelled().await;
        leave.notify_one();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.expect("an answer, then the end");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.expect("the end");
    };
    tokio::join!(stop, client);
    TcpStream::connect(address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut() {
    let entered = Arc::new(Notify::new());
    let in_handler = Arc::clone(&entered);
    let handler = get(|| async move {
        in_handler.notify_one();
        std::future::pending::<()>().await;
    });
    let listener = start(Router::new().route("/", handler)).await;
    let mut busy = TcpStream::connect(listener.address()).await.expect("connected");
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    entered.notified().await;
    listener.stop(Duration::ZERO).await;
    let mut rest = Vec::new();
    // The end, or a reset: either way nobody waits any more.
    let _ = busy.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

/// A listener with TLS whose certificate comes from `files`, and which answers every GET of `/`.
async fn start_tls(files: &Files) -> (Listener, Arc<Certificates>) {
    let certificates = Arc::new(Certificates::load(files.files.clone()).expect("a pair"));
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let router = Router::new().route("/", get(async || "hello"));
    let protection = Protection::Tls(Arc::clone(&certificates));
    (Listener::start(socket, protection, router).expect("started"), certificates)
}

/// Asks once, on a connection of its own; gives the certificate that was presented, and the connection.
async fn ask(authority: &Authority, address: SocketAddr) -> (CertificateDer<'static>, TlsStream<TcpStream>) {
    let stream = TcpStream::connect(address).await.expect("connected");
    let mut stream = authority.connect(stream).await.expect("a handshake");
    check_answer(&mut stream).await;
    let presented = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned();
    (presented, stream)
}

async fn check_answer(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    while !answer.ends_with("hello") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.expect("an answer");
        assert_ne!(read, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).expect("UTF-8"));
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(2100), authority.issue(2101));
    let files = Files::new(&first);
    let (listener, certificates) = start_tls(&files).await;
    let (presented, mut old) = ask(&authority, listener.address()).await;
    assert_eq!(&presented, first.certificate.der());
    files.write(&second);
    Arc::clone(&certificates).reload().await;
    let (presented, _new) = ask(&authority, listener.address()).await;
    assert_eq!(&presented, second.certificate.der());
    check_answer(&mut old).await;
    files.write_key(&first);
    certificates.reload().await;
    let (presented, _new) = ask(&authority, listener.address()).await;
    assert_eq!(&presented, second.certificate.der());
    listener.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn who_does_not_shake_hands_holds_up_nobody() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue(2100));
    let (listener, _certificates) = start_tls(&files).await;
    let address = listener.address();
    let mut silent = TcpStream::connect(address).await.expect("connected");
    let mut plain = TcpStream::connect(address).await.expect("connected");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    ask(&authority, address).await;
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP"), "an alert, and no answer in the clear");
    // A stop does not wait for the one who still has not begun.
    let stop = tokio::time::timeout(HANDSHAKE_TIME / 2, listener.stop(Duration::from_secs(60)));
    stop.await.expect("stopped");
    assert!(!matches!(silent.read(&mut [0; 1]).await, Ok(read) if read > 0));
}

/// Time stands still but for what is waited for, so the socket is one in memory.
#[tokio::test(start_paused = true)]
async fn a_handshake_has_limited_time() {
    let files = Files::new(&Authority::new().issue(2100));
    let certificates = Arc::new(Certificates::load(files.files.clone()).expect("a pair"));
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let graceful = GracefulShutdown::new();
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("free");
    let remote = SocketAddr::from(([127, 0, 0, 1], 1));
    let service = Requests { router: Router::new(), remote };
    let connection = Connection { stream: ours, service, watcher: graceful.watcher(), _permit: permit };
    connection.serve(Protection::Tls(certificates), CancellationToken::new()).await;
    assert_eq!(theirs.read(&mut [0; 1]).await.expect("the end"), 0);
}

/// Answered before its body was read, whoever still sends it gets the whole answer, and no reset in its place.
#[tokio::test]
async fn who_is_answered_early_gets_the_answer() {
    const ANSWER_BYTES: usize = 1024 * 1024;
    let router = Router::new().route("/", post(async || vec![b'x'; ANSWER_BYTES]));
    let listener = start(router).await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(listener.address()).await.expect("connected");
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).await.expect("sent");
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.expect("the answer begins");
        // Comes when nobody reads it any more.
        let _ = stream.write_all(&[b'0'; 64 * 1024]).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("no reset");
        assert!(rest.len() > ANSWER_BYTES, "{} bytes", rest.len());
    }
    listener.stop(Duration::from_secs(60)).await;
}
