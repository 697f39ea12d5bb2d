//! Connections: how they are made, raced and reused, and with whom they are not shared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stackbell_engine::outbound::{Connections, OutboundSettings};
use stackbell_model::delivery::Silence;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::support::{Names, OK, Server, Setup, answer, assert_silent, read_request, request, send};

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::answering(OK).await;
    let client = Setup::default().client().await;
    for _ in 0..5 {
        assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn organizations_share_connections_only_under_the_same_allowances() {
    let server = Server::answering(OK).await;
    let client = Setup::allowing("127.0.0.0/8 10.0.0.0/8@acme 10.0.0.0/8@other").client().await;
    for (organization, accepted) in
        [("one", 1), ("two", 1), ("acme", 2), ("other", 3), ("acme", 3), ("one", 3)]
    {
        answer(client.send(request(organization, &server.url()), 10).await);
        assert_eq!(server.accepted(), accepted, "{organization}");
    }
}

/// A server that reports when a client has closed its connection. If `closes_first`, the server closes its end first.
async fn telling_of_ends(closes_first: bool) -> (Server, mpsc::UnboundedReceiver<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK).await.expect("the client waits");
            if closes_first {
                stream.shutdown().await.expect("open");
            }
            assert!(read_request(&mut stream).await.is_empty(), "there is no second request");
            sender.send(()).expect("the test waits");
        }
    })
    .await;
    (server, receiver)
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used_again() {
    let (server, mut ends) = telling_of_ends(true).await;
    let client = Setup::default().client().await;
    for accepted in 1..=3 {
        assert_eq!(answer(send(&client, &server.url()).await).status, 200);
        ends.recv().await.expect("the server tells");
        assert_eq!(server.accepted(), accepted);
    }
}

/// How a server ends a connection at its second request.
#[derive(Clone, Copy)]
enum End {
    Reset,
    Close,
    /// Before the second request, with a reset that the client may not have seen.
    Early,
    /// After the first byte of a response.
    Halfway,
}

/// A server that responds to the first request of each connection, and ends the connection at the second.
async fn ending(end: End, requests: mpsc::UnboundedSender<Vec<u8>>) -> Server {
    Server::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await).expect("the test waits");
            stream.write_all(OK).await.expect("the client waits");
            if !matches!(end, End::Early) {
                let second = read_request(&mut stream).await;
                if second.is_empty() {
                    return;
                }
                requests.send(second).expect("the test waits");
            }
            match end {
                End::Close => {}
                End::Reset | End::Early => stream.set_zero_linger().expect("a socket"),
                End::Halfway => stream.write_all(b"H").await.expect("the client waits"),
            }
        }
    })
    .await
}

/// An idle connection that the server closed is not a failure of the endpoint.
#[tokio::test]
async fn a_connection_that_breaks_before_an_answer_is_replaced_once_within_the_attempt() {
    for end in [End::Reset, End::Close, End::Early] {
        let (sender, mut requests) = mpsc::unbounded_channel();
        let server = ending(end, sender).await;
        let client = Setup::default().client().await;
        for _ in 0..2 {
            assert_eq!(answer(send(&client, &server.url()).await).status, 200);
        }
        assert_eq!(server.accepted(), 2);
        let first = requests.recv().await.expect("a request");
        while let Ok(again) = requests.try_recv() {
            assert_eq!(again, first, "the same bytes");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_within_an_answer_is_not_replaced() {
    let (sender, _requests) = mpsc::unbounded_channel();
    let server = ending(End::Halfway, sender).await;
    let client = Setup::default().client().await;
    assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    let exchange = send(&client, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, "the connection ended before a response");
    assert_eq!(server.accepted(), 1);
}

/// The second connection is a new one, and its outcome is reported.
#[tokio::test]
async fn an_endpoint_that_breaks_each_connection_is_asked_twice_at_most() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let is_first = AtomicBool::new(true);
    let server = Server::start(move |mut stream| {
        let (requests, answers) = (sender.clone(), is_first.swap(false, Ordering::SeqCst));
        async move {
            requests.send(read_request(&mut stream).await).expect("the test waits");
            if answers {
                stream.write_all(OK).await.expect("the client waits");
                requests.send(read_request(&mut stream).await).expect("the test waits");
            }
        }
    })
    .await;
    let client = Setup::default().client().await;
    assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    let exchange = send(&client, &server.url()).await;
    assert_silent(&exchange, Silence::Broken, "the connection ended before a response");
    assert_eq!(server.accepted(), 2);
    let count = std::iter::from_fn(|| requests.try_recv().ok()).count();
    assert_eq!(count, 3, "the first request, and the second one on two connections");
}

#[tokio::test]
async fn some_requests_take_no_connection_that_has_served_others() {
    let server = Server::answering(OK).await;
    let client = Setup::default().client().await;
    for accepted in 1..=3 {
        let request = request("acme", &server.url()).on(Connections::New);
        assert_eq!(answer(client.send(request, 10).await).status, 200);
        assert_eq!(server.accepted(), accepted);
    }
    assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    assert_eq!(server.accepted(), 3, "others may take those afterwards");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let (server, mut ends) = telling_of_ends(false).await;
    let settings = OutboundSettings { idle_time: Duration::from_millis(100), ..OutboundSettings::default() };
    let client = Setup { settings, ..Setup::default() }.client().await;
    assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    ends.recv().await.expect("the server tells");
}

#[tokio::test]
async fn dropping_the_client_closes_its_connections() {
    let (server, mut ends) = telling_of_ends(false).await;
    let client = Setup::default().client().await;
    assert_eq!(answer(send(&client, &server.url()).await).status, 200);
    drop(client);
    ends.recv().await.expect("the server tells");
}

#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    let (asked, mut asking) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let asked = asked.clone();
        async move {
            for _ in 0..2 {
                asked.send(read_request(&mut stream).await.is_empty()).expect("the test waits");
            }
        }
    })
    .await;
    let client = Setup::default().client().await;
    let url = server.url();
    tokio::select! {
        exchange = send(&client, &url) => panic!("nobody answers: {exchange:?}"),
        is_end = asking.recv() => assert_eq!(is_end, Some(false)),
    }
    assert_eq!(asking.recv().await, Some(true));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/secret", listener.local_addr().expect("bound"));
    drop(listener);
    let origin = url.trim_end_matches("/secret");
    let exchange = send(&Setup::default().client().await, &url).await;
    let text = format!("{origin}: no connection: connection refused");
    assert_silent(&exchange, Silence::Unreachable, &text);
}

#[tokio::test]
async fn names_without_addresses() {
    let exchange = send(&Setup::default().client().await, "http://nowhere.example.com/secret").await;
    assert_silent(&exchange, Silence::Unresolved, "http://nowhere.example.com:80: the name has no address");
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let server = Server::answering(OK).await;
    let names = Names::new(&[&["127.0.0.3", "127.0.0.2", "127.0.0.1"]]);
    let client = Setup::default().names(&names).client().await;
    let url = format!("http://hooks.example.com:{}/secret", server.port());
    assert_eq!(answer(send(&client, &url).await).status, 200);
}

/// A listener whose queue is full: the system ignores further connections.
async fn dead_at(address: &str, port: u16) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{address}:{port}").parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("bound");
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(connected.expect("queued"));
    }
    (listener, queued)
}

#[tokio::test]
async fn a_dead_address_does_not_eat_all_the_time() {
    let server = Server::answering(OK).await;
    let _dead = dead_at("127.0.0.2", server.port()).await;
    let names = Names::new(&[&["127.0.0.2", "127.0.0.1"]]);
    let client = Setup::within(Duration::from_secs(4)).names(&names).client().await;
    let url = format!("http://hooks.example.com:{}/secret", server.port());
    assert_eq!(answer(send(&client, &url).await).status, 200);
}

#[tokio::test]
async fn a_dead_host_is_unreachable() {
    let (listener, _queued) = dead_at("127.0.0.1", 0).await;
    let url = format!("http://{}/secret", listener.local_addr().expect("bound"));
    let exchange = send(&Setup::within(Duration::from_secs(1)).client().await, &url).await;
    assert_silent(&exchange, Silence::Unreachable, "no connection: timed out");
}
