use super::*;
use axum::routing::{get, post};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::connection_slots::{CONNECTIONS_MAX, HEAD_TIME};
use crate::server_metrics::CutConnections;
use crate::tls::testing::{Authority, Files};

/// The type of a TLS record that is an alert. Source: RFC 8446, section 5.1.
const ALERT: u8 = 21;

async fn start(router: Router) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Listener::start(
        socket,
        Protection::Plain,
        router,
        ConnectionSlots::new(CONNECTIONS_MAX, Vec::new(), CutConnections::default()),
    )
    .expect("started")
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
    // The connection ends or is reset; both are fine.
    let _ = busy.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

/// A listener with TLS whose certificate comes from `files`. It responds to every GET of `/`.
async fn start_tls(files: &Files) -> (Listener, Arc<Certificates>) {
    let certificates = Arc::new(Certificates::load(files.files.clone()).expect("a pair"));
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let router = Router::new().route("/", get(async || "hello"));
    let protection = Protection::Tls(Arc::clone(&certificates));
    let slots = ConnectionSlots::new(CONNECTIONS_MAX, Vec::new(), CutConnections::default());
    (Listener::start(socket, protection, router, slots).expect("started"), certificates)
}

/// Sends one request on a new connection; returns the presented certificate, and the connection.
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
async fn a_missing_handshake_delays_no_other_connection() {
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
    assert_eq!(rest.first(), Some(&ALERT), "an alert, and no answer in the clear: {rest:?}");
    // A stop does not wait for a connection without a handshake.
    let stop = tokio::time::timeout(HEAD_TIME / 2, listener.stop(Duration::from_secs(60)));
    stop.await.expect("stopped");
    assert!(!matches!(silent.read(&mut [0; 1]).await, Ok(read) if read > 0));
}

/// A connection that was just accepted, for a router that responds to every GET of `/`.
async fn connection<S>(stream: S) -> Connection<S> {
    let (stop, remote) = (CancellationToken::new(), SocketAddr::from(([127, 0, 0, 1], 1)));
    let admission = ConnectionSlots::new(CONNECTIONS_MAX, Vec::new(), CutConnections::default())
        .take(remote.ip(), &stop)
        .await;
    let Admission::Taken(slot, _) = admission else { panic!("there are slots") };
    let router = Router::new().route("/", get(async || "hello"));
    Connection { stream, router, remote, slot, stop, log: Arc::default() }
}

/// Tokio's clock is paused and advances only while all tasks wait, so the stream is in memory.
#[tokio::test(start_paused = true)]
async fn a_handshake_has_limited_time() {
    let files = Files::new(&Authority::new().issue(2100));
    let certificates = Arc::new(Certificates::load(files.files.clone()).expect("a pair"));
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let connection = connection(ours).await;
    let began = Instant::now();
    connection.serve(Protection::Tls(certificates)).await;
    // The connection is cut neither early nor late. Timers have a precision of a millisecond.
    let took = began.elapsed();
    assert!((HEAD_TIME..=HEAD_TIME + Duration::from_millis(1)).contains(&took), "{took:?}");
    assert_eq!(theirs.read(&mut [0; 1]).await.expect("the end"), 0);
}

/// A client that gets its response before its body was read gets all of it, not a reset.
#[tokio::test]
async fn an_early_response_arrives() {
    const ANSWER_BYTES: usize = 1024 * 1024;
    let router = Router::new().route("/", post(async || vec![b'x'; ANSWER_BYTES]));
    let listener = start(router).await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(listener.address()).await.expect("connected");
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).await.expect("sent");
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.expect("the answer begins");
        // These bytes arrive after the server has stopped reading.
        let _ = stream.write_all(&[b'0'; 64 * 1024]).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("no reset");
        assert!(rest.len() > ANSWER_BYTES, "{} bytes", rest.len());
    }
    listener.stop(Duration::from_secs(60)).await;
}

/// Sends `text`, one byte a second, until the connection ends. Returns the time it took, and the response.
async fn trickle(mut stream: tokio::io::DuplexStream, text: &[u8]) -> (Duration, String) {
    let begun = tokio::time::Instant::now();
    for byte in text {
        if stream.write_all(std::slice::from_ref(byte)).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = begun.elapsed();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    (took, String::from_utf8(answer).expect("text"))
}

#[tokio::test(start_paused = true)]
async fn a_first_head_has_limited_time_however_slowly_it_comes() {
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(200));
    for sent in [0, 1, 200] {
        let (ours, theirs) = tokio::io::duplex(1024);
        let begun = tokio::time::Instant::now();
        let serving = async {
            connection(ours).await.serve(Protection::Plain).await;
            begun.elapsed()
        };
        let (took, (_, answer)) = tokio::join!(serving, trickle(theirs, &head.as_bytes()[..sent]));
        assert_eq!((took, answer.as_str()), (HEAD_TIME, ""), "{sent} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_limited_time_and_an_idle_connection_more() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let serving = async { connection(ours).await.serve(Protection::Plain).await };
    let client = async {
        for _ in 0..2 {
            theirs.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            let mut answer = vec![0; 1024];
            let read = theirs.read(&mut answer).await.expect("an answer");
            assert!(answer[..read].ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer));
            tokio::time::sleep(IDLE_TIME - HEAD_TIME).await;
        }
        let (took, _) = trickle(theirs, &[b'G'; 200]).await;
        assert!(took <= 2 * HEAD_TIME, "{took:?}");
    };
    tokio::join!(serving, client);
}

/// All slots and more are used by silent connections: the next connection with a request still gets a response at once.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let router = Router::new().route("/", get(async || "hello"));
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listener = Listener::start(
        socket,
        Protection::Plain,
        router,
        ConnectionSlots::new(8, Vec::new(), CutConnections::default()),
    )
    .expect("started");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(listener.address()).await.expect("connected"));
        let mut asking = TcpStream::connect(listener.address()).await.expect("connected");
        asking.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    // The first connection lost its slot long ago; the last one still has one.
    assert!(!matches!(silent[0].read(&mut [0; 1]).await, Ok(read) if read > 0));
    let mut last = silent.pop().expect("there are some");
    last.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with("hello"), "{answer}");
    listener.stop(Duration::from_secs(60)).await;
}

/// An idle connection yields after its response, and is closed cleanly.
#[tokio::test]
async fn an_idle_connection_gives_way_where_all_places_are_used() {
    let router = Router::new().route("/", get(async || "hello"));
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listener = Listener::start(
        socket,
        Protection::Plain,
        router,
        ConnectionSlots::new(4, Vec::new(), CutConnections::default()),
    )
    .expect("started");
    let ask = async || {
        let mut stream = TcpStream::connect(listener.address()).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.expect("an answer");
        assert!(answer[..read].ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer));
        stream
    };
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.push(ask().await);
    }
    assert_eq!(kept[0].read(&mut [0; 1]).await.expect("closed, not reset"), 0);
    drop(kept);
    listener.stop(Duration::from_secs(60)).await;
}
