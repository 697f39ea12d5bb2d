//! Whatever a server does, the exchange ends in time and says what happened.

use std::time::Duration;

use bytes::Bytes;
use stackbell_engine::outbound::BodyEnd;
use stackbell_model::delivery::Silence;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{KEEP, Server, Setup, answer, assert_silent, hold, read_request, request, send};

/// Long enough for a busy machine to get an answer's head through, short enough to wait for its end.
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

/// What was said to come is not waited for once no more of it is kept.
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

/// Serves `head`, then byte after byte of `drip` with a little time between.
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
    assert_silent(&exchange, Silence::TimedOut, "http://127.0.0.1: no answer within 1s");
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let server = Server::start(hold).await;
    let exchange = send(&Setup::within(SHORT).client().await, &server.url()).await;
    assert_silent(&exchange, Silence::TimedOut, "no answer within 1s");
}

async fn check_broken(answer: Bytes, text: &str) {
    let server = Server::answering_once(answer).await;
    let exchange = send(&Setup::default().client().await, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, text);
    assert_eq!(server.accepted(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn what_is_not_http_is_broken() {
    let text = "the answer is not HTTP/1.1, or its headers are too many or too long";
    check_broken("SSH-2.0-OpenSSH_9.6\r\n".into(), text).await;
    check_broken(Bytes::from_static(&[0xff; 512]), text).await;
    check_broken("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n".into(), text).await;
    check_broken("HTTP/1.1 2000 OK\r\n\r\n".into(), text).await;
}

#[tokio::test]
async fn floods_of_headers_are_broken() {
    let text = "the answer is not HTTP/1.1, or its headers are too many or too long";
    let many = "X: y\r\n".repeat(101);
    check_broken(format!("HTTP/1.1 200 OK\r\n{many}\r\n").into(), text).await;
    check_broken(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)).into(), text).await;
}

#[tokio::test]
async fn an_end_before_the_answer_is_broken() {
    check_broken(Bytes::new(), "the connection ended before an answer").await;
    check_broken("HTTP/1.1 200 OK\r\nX-A: 1\r\n".into(), "the connection ended before an answer").await;
}

/// Makes the system send a reset instead of an orderly end.
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
    assert_silent(&exchange, Silence::Broken, "the connection ended before an answer: connection reset");
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

#[tokio::test]
async fn endless_interim_answers_are_no_answer() {
    let server = dripping("", "HTTP/1.1 100 Continue\r\n\r\n").await;
    let exchange = send(&Setup::within(SHORT).client().await, &server.url()).await;
    assert_silent(&exchange, Silence::TimedOut, "no answer within 1s");
}
