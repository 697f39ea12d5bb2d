//! The exchange ends in time and reports what happened, whatever a server does.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use stackbell_engine::outbound::BodyEnd;
use stackbell_model::delivery::Silence;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::support::{KEEP, Server, Setup, answer, assert_silent, hold, read_request, request, send};

/// Long enough for a busy machine to receive the head of a response, and short enough to wait for in a test.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn answers_are_recorded() {
    let server = Server::answering(
        "HTTP/1.1 503 Busy\r\nretry-after: 120\r\nX-B: 2\r\nx-a: 1\r\nContent-Length: 3\r\n\r\nno!",
    )
    .await;
    let answer = answer(send(&Setup::default().client().await, &server.url()).await);
    assert_eq!(answer.status, 503);
    assert_eq!(&*answer.headers, "Content-Length: 3\r\nRetry-After: 120\r\nX-A: 1\r\nX-B: 2\r\n");
    assert_eq!(&*answer.body, "no!");
    assert_eq!(answer.retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn retry_after_as_a_date_counts_from_the_clock() {
    let head = "HTTP/1.1 429 Slow\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(head).await;
    let answer = answer(send(&Setup::default().client().await, &server.url()).await);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(60)));
}

fn with_body(body: &[u8]) -> Bytes {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat().into()
}

#[tokio::test]
async fn bodies_are_cut_where_the_caller_says() {
    let check = async |body: String, keep: usize, expected: &str| {
        let server = Server::answering(with_body(body.as_bytes())).await;
        let client = Setup::default().client().await;
        for _ in 0..2 {
            let exchange = client.send(request("acme", &server.url()), keep).await;
            assert_eq!(exchange.body_end, Some(BodyEnd::Whole));
            assert_eq!(&*answer(exchange).body, expected);
        }
        assert_eq!(server.accepted(), 1, "the rest was read, and the connection used again");
    };
    check("abc".to_owned(), 3, "abc").await;
    check("abc".to_owned(), 2, "ab").await;
    check("abc".to_owned(), 0, "").await;
    check("aé".to_owned(), 2, "a").await;
    check("x".repeat(200_000), 65_536, &"x".repeat(65_536)).await;
}

#[tokio::test]
async fn no_more_of_a_long_body_is_read_than_is_worth_it() {
    let check = async |answer: Bytes, keep: usize, end: BodyEnd, connections: usize| {
        let server = Server::answering(answer).await;
        let client = Setup::default().client().await;
        for _ in 0..2 {
            let exchange = client.send(request("acme", &server.url()), keep).await;
            assert_eq!(exchange.body_end, Some(end));
        }
        assert_eq!(server.accepted(), connections);
    };
    let chunked = |chunk: &str| -> Bytes {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len()).into()
    };
    check(with_body(&[b'x'; 256 * 1024]), 5, BodyEnd::Whole, 1).await;
    check(with_body(&[b'x'; 256 * 1024 + 1]), 5, BodyEnd::TooLong, 2).await;
    check(chunked("first"), 5, BodyEnd::Whole, 1).await;
    check(chunked("first"), 4, BodyEnd::TooLong, 2).await;
}

/// The client does not wait for the rest of a body once it keeps no more of it.
#[tokio::test]
async fn a_long_body_that_stops_is_not_waited_for() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(KEEP));
        stream.write_all(head.as_bytes()).await.expect("somebody reads");
        hold(stream).await;
    })
    .await;
    let exchange = send(&Setup::default().client().await, &server.url()).await;
    assert_eq!(exchange.body_end, Some(BodyEnd::TooLong));
    assert_eq!(answer(exchange).body.len(), KEEP);
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_its_connection_dropped() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let mut result = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while result.is_ok() {
            result = stream.write_all(&[b'x'; 8192]).await;
        }
    })
    .await;
    let client = Setup::default().client().await;
    for _ in 0..2 {
        let exchange = send(&client, &server.url()).await;
        assert_eq!(exchange.body_end, Some(BodyEnd::TooLong));
        assert_eq!(answer(exchange).body.len(), KEEP);
    }
    assert_eq!(server.accepted(), 2);
}

/// Serves `head`, then `drip` byte by byte with short pauses.
async fn dripping(head: &'static str, drip: &'static str) -> Server {
    Server::start(move |mut stream| async move {
        read_request(&mut stream).await;
        let mut result = stream.write_all(head.as_bytes()).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for byte in drip.bytes().cycle() {
            if result.is_err() {
                return;
            }
            ticks.tick().await;
            result = stream.write_all(&[byte]).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_dripping_body_is_an_answer_when_time_is_up() {
    let server = dripping("HTTP/1.1 202 Fine\r\n\r\n", "x").await;
    let exchange = send(&Setup::within(SHORT).client().await, &server.url()).await;
    assert_eq!(exchange.body_end, Some(BodyEnd::TimedOut));
    let answer = answer(exchange);
    assert_eq!(answer.status, 202);
    assert!(answer.body.starts_with('x'));
}

#[tokio::test]
async fn a_dripping_head_is_no_answer() {
    let server = dripping("HTTP/1.1 200 OK\r\nX-A: ", "x").await;
    let exchange = send(&Setup::within(SHORT).client().await, &server.url()).await;
    assert_silent(&exchange, Silence::TimedOut, &format!("{}: no response within 1s", server.origin()));
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let server = Server::start(hold).await;
    let exchange = send(&Setup::within(SHORT).client().await, &server.url()).await;
    assert_silent(&exchange, Silence::TimedOut, "no response within 1s");
}

async fn check_broken(answer: Bytes, text: &str) {
    let server = Server::answering_once(answer).await;
    let exchange = send(&Setup::default().client().await, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, text);
    assert_eq!(server.accepted(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn responses_that_are_not_http_are_broken() {
    let text = "the response does not begin with an HTTP/1.1 status line";
    check_broken("SSH-2.0-OpenSSH_9.6\r\n".into(), text).await;
    check_broken(Bytes::from_static(&[0xff; 512]), text).await;
    check_broken("HTTP/1.1 2000 OK\r\n\r\n".into(), text).await;
    check_broken(
        Bytes::from_static(&[21, 3, 3, 0, 2, 2, 70]),
        "the port speaks TLS, and the URL says http://",
    )
    .await;
}

/// The endpoint has accepted the event, whatever its header lines are.
#[tokio::test]
async fn untidy_header_lines_do_not_matter() {
    let check = async |lines: &[u8], kept: &str| {
        let head = [b"HTTP/1.1 200 OK\r\n", lines, b"Content-Length: 2\r\n\r\nok"].concat();
        let server = Server::answering(head).await;
        let client = Setup::default().client().await;
        for _ in 0..2 {
            let exchange = send(&client, &server.url()).await;
            assert_eq!(exchange.body_end, Some(BodyEnd::Whole));
            let answer = answer(exchange);
            assert_eq!((answer.status, &*answer.body, &*answer.headers), (200, "ok", kept));
        }
        assert_eq!(server.accepted(), 1, "the connection is used again");
    };
    check(b"Server : x\r\n", "Content-Length: 2\r\nServer: x\r\n").await;
    check(b"no colon here\r\n", "Content-Length: 2\r\n").await;
    check(b"X: a\0b\r\nB[]@d: e\r\n: f\r\n", "Content-Length: 2\r\n").await;
    check(b"X: a\n b\n", "Content-Length: 2\r\nX: a b\r\n").await;
    let many = "X: y\r\n".repeat(101);
    check(many.as_bytes(), &format!("Content-Length: 2\r\n{many}")).await;
    let long = format!("X: {}\r\n", "y".repeat(100_000));
    check(long.as_bytes(), "Content-Length: 2\r\n").await;
}

/// The head may come in pieces of any size, and together with the body.
#[tokio::test]
async fn heads_come_in_pieces() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_nodelay(true).expect("a socket");
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nX: a\r\nContent-Length: 2\r\n\r\nok" {
            stream.write_all(&[*byte]).await.expect("the client reads");
            tokio::task::yield_now().await;
        }
        hold(stream).await;
    })
    .await;
    let answer = answer(send(&Setup::default().client().await, &server.url()).await);
    assert_eq!((answer.status, &*answer.body), (201, "ok"));
    assert_eq!(&*answer.headers, "Content-Length: 2\r\nX: a\r\n");
}

#[tokio::test]
async fn contradictory_framing_is_broken() {
    let check = async |lines: &str, text: &str| {
        check_broken(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok").into(), text).await;
    };
    check("Content-Length: abc", "the response's Content-Length is not a number").await;
    check("Content-Length: 2\r\nContent-Length: 3", "the response has conflicting Content-Length headers")
        .await;
}

#[tokio::test]
async fn odd_framing_is_read_as_curl_reads_it() {
    let check = async |lines: &str, body: &str| {
        let server = Server::answering_once(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}")).await;
        let answer = answer(send(&Setup::default().client().await, &server.url()).await);
        assert_eq!((answer.status, &*answer.body), (200, "ok"), "{lines}");
    };
    check("Content-Length: +2", "ok").await;
    check("Content-Length: 2, 2", "okmore").await;
    check("Content-Length: 2 bytes", "ok").await;
    check("Content-Length: 99999999999999999999999", "ok").await;
    check("Transfer-Encoding: Chunked", "2;a=b\r\nok\r\n0\r\n\r\n").await;
    check("Transfer-Encoding: chunked\r\nContent-Length: x", "2\r\nok\r\n0\r\nA: b\r\n\r\n").await;
    check("Transfer-Encoding: nothing-known", "ok").await;
}

#[tokio::test]
async fn a_head_that_the_end_cuts_is_an_answer_by_its_status_line() {
    let server = Server::answering_once("HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Le").await;
    let answer = answer(send(&Setup::default().client().await, &server.url()).await);
    assert_eq!((answer.status, &*answer.headers, &*answer.body), (200, "X-A: 1\r\n", ""));
}

#[tokio::test]
async fn heads_without_end_are_broken() {
    let text = "the head of the response is longer than 300 KiB";
    check_broken(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(60_000)).into(), text).await;
    check_broken(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)).into(), text).await;
}

/// A body that is not allowed must not be read as the next response.
#[tokio::test]
async fn a_204_with_a_body_ends_its_connection() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok").await;
    let client = Setup::default().client().await;
    for accepted in 1..=2 {
        let answer = answer(send(&client, &server.url()).await);
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_eq!(server.accepted(), accepted);
    }
}

#[tokio::test]
async fn another_protocol_is_no_success() {
    let server = Server::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(answer(send(&Setup::default().client().await, &server.url()).await).status, 101);
}

/// An endpoint may respond and close the connection before it has read the request.
#[tokio::test]
async fn an_answer_before_the_whole_request_counts() {
    let server = Server::start(|mut stream| async move {
        stream.read_u8().await.expect("a request begins");
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            .await
            .expect("the client reads");
        stream.shutdown().await.expect("open");
    })
    .await;
    let mut request = request("acme", &server.url());
    request.body = vec![b'x'; 8 << 20].into();
    let answer = answer(Setup::default().client().await.send(request, KEEP).await);
    assert_eq!((answer.status, &*answer.body), (413, "no"));
}

/// The client asks for uncompressed bytes, but some servers compress anyway.
#[tokio::test]
async fn packed_bodies_and_charsets_are_undone() {
    let check = async |lines: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\nContent-Length: {}\r\n\r\n", body.len());
        let server = Server::answering([head.as_bytes(), body].concat()).await;
        let answer = answer(send(&Setup::default().client().await, &server.url()).await);
        assert_eq!(&*answer.body, "é 413", "{lines}");
    };
    let said = "é 413".as_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(said).expect("in memory");
    check("Content-Encoding: gzip", &gzip.finish().expect("in memory")).await;
    check("Content-Type: text/plain; charset=iso-8859-1", b"\xe9 413").await;
    check("Content-Type: text/plain; charset=utf-16le", b"\xe9\0 \x004\x001\x003\0").await;
}

#[tokio::test]
async fn an_end_before_the_answer_is_broken() {
    check_broken(Bytes::new(), "the connection ended before a response").await;
    check_broken("HTTP/1.1 200 OK".into(), "the connection ended before a response").await;
    check_broken("HTTP/1.1 100 Continue\r\n\r\n".into(), "the connection ended before a response").await;
}

/// Makes the system send a reset instead of an orderly close.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket");
    drop(stream);
}

#[tokio::test]
async fn a_reset_before_the_answer_is_broken() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        reset(stream);
    })
    .await;
    let exchange = send(&Setup::default().client().await, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, "the connection ended before a response: connection reset");
    assert_eq!(server.accepted(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn an_end_within_the_body_is_an_answer() {
    for head in ["Content-Length: 100\r\n\r\nfirst", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\nzz"] {
        let server = Server::answering_once(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        let exchange = send(&Setup::default().client().await, &server.url()).await;
        assert_eq!(exchange.body_end, Some(BodyEnd::Broken));
        let answer = answer(exchange);
        assert_eq!((answer.status, &*answer.body), (200, "first"));
    }
}

/// The client does not wait, and reads little.
#[tokio::test]
async fn endless_interim_answers_end_the_attempt_at_once() {
    let (sender, mut written) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            let mut count = 0_usize;
            while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
                count += 1;
            }
            sender.send(count).expect("the test waits");
        }
    })
    .await;
    let client = Setup::within(Duration::from_secs(3600)).client().await;
    let exchange = send(&client, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, "more than 100 interim responses (1xx) came, and no final one");
    let count = written.recv().await.expect("the server tells");
    assert!(count < 200_000, "{count} were taken");
}

#[tokio::test]
async fn a_few_interim_answers_come_before_the_final_one() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(100);
    let server = Server::answering(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let client = Setup::default().client().await;
    for _ in 0..2 {
        let answer = answer(send(&client, &server.url()).await);
        assert_eq!((answer.status, &*answer.headers), (200, "Content-Length: 2\r\n"));
    }
    assert_eq!(server.accepted(), 1);
}
