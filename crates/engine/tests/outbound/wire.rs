//! Outgoing requests, byte by byte.

use std::sync::Arc;

use bytes::Bytes;
use stackbell_engine::outbound::OutboundRequest;
use stackbell_model::delivery::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::support::{KEEP, Names, OK, Server, Setup, answer, read_request, request};

/// Sends a request. Returns the lines of its head, sorted after the first, and its body.
async fn sent(request: impl FnOnce(&str) -> OutboundRequest) -> (Vec<String>, String) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_request(&mut stream).await).expect("the test waits");
            stream.write_all(OK).await.expect("the client waits");
        }
    })
    .await;
    let client = Setup::default().client().await;
    let address = server.address.to_string();
    answer(client.send(request(&address), KEEP).await);
    let bytes = receiver.recv().await.expect("a request");
    let text = String::from_utf8(bytes).expect("text").replace(&address, "HOST");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    (lines, body.to_owned())
}

const AGENT: &str = concat!("User-Agent: Stackbell/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn header_names_are_spelled_as_given() {
    let (lines, body) = sent(|address| {
        let mut request = request("acme", &format!("http://{address}/a/b?c=d#e"));
        request.body = Bytes::from_static(b"{\"a\":1}");
        let names = [
            "Accept",
            "Content-Type",
            "Pulumi-Webhook-Id",
            "Pulumi-Webhook-Kind",
            "Pulumi-Webhook-Signature",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp",
        ];
        request.headers = names.map(|name| (name, "v".to_owned())).into();
        request
    })
    .await;
    let expected = [
        "POST /a/b?c=d HTTP/1.1",
        "Accept-Encoding: identity",
        "Accept: v",
        "Content-Length: 7",
        "Content-Type: v",
        "Host: HOST",
        "Pulumi-Webhook-Id: v",
        "Pulumi-Webhook-Kind: v",
        "Pulumi-Webhook-Signature: v",
        AGENT,
        "webhook-id: v",
        "webhook-signature: v",
        "webhook-timestamp: v",
    ];
    assert_eq!((lines, body.as_str()), (expected.map(str::to_owned).to_vec(), "{\"a\":1}"));
}

#[tokio::test]
async fn the_host_header_has_no_dot_at_its_end() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_request(&mut stream).await).expect("the test waits");
            stream.write_all(OK).await.expect("the client waits");
        }
    })
    .await;
    let client = Setup::default().names(&Names::new(&[&["127.0.0.1"]])).client().await;
    for host in ["hooks.example.com", "hooks.example.com."] {
        answer(client.send(request("acme", &format!("http://{host}:{}/", server.port())), KEEP).await);
        let head = String::from_utf8(receiver.recv().await.expect("a request")).expect("text");
        let line = format!("\r\nHost: hooks.example.com:{}\r\n", server.port());
        assert!(head.contains(&line), "{host}: {head}");
    }
}

#[tokio::test]
async fn credentials_of_the_url_become_a_header() {
    let (lines, _) = sent(|address| request("acme", &format!("http://me:word@{address}/"))).await;
    assert!(lines.contains(&"Authorization: Basic bWU6d29yZA==".to_owned()), "{lines:?}");
    assert_eq!(lines[0], "POST / HTTP/1.1");

    let (lines, _) = sent(|address| {
        let mut request = request("acme", &format!("http://me:word@{address}/"));
        request.headers = vec![("Authorization", "token x".to_owned()), ("User-Agent", "y".to_owned())];
        request
    })
    .await;
    assert!(lines.contains(&"Authorization: token x".to_owned()), "{lines:?}");
    assert!(lines.contains(&"User-Agent: y".to_owned()) && !lines.contains(&AGENT.to_owned()), "{lines:?}");
}

#[tokio::test]
async fn headers_that_cannot_be_sent_are_our_fault() {
    let server = Server::answering(OK).await;
    let client = Arc::new(Setup::default().client().await);
    for (name, value) in [("Webhook-Id", "v"), ("x-custom", "v"), ("Bad Name", "v"), ("Accept", "a\r\nB: c")]
    {
        let mut request = request("acme", &server.url());
        request.headers = vec![(name, value.to_owned())];
        let exchange = client.send(request, KEEP).await;
        assert!(matches!(exchange.outcome, Outcome::OurFault { .. }), "{name}: {exchange:?}");
    }
    assert_eq!(server.accepted(), 0);
}
