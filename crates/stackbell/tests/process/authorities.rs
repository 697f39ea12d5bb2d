//! `--outbound-ca-file`: an endpoint with a certificate of a private authority.

use serde_json::Value;
use stackbell_testkit::{Client, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::certificates::Authority;
use crate::support::{publish, register, setup, update, webhook};

/// An endpoint with a certificate of `authority` that accepts every request; returns its URL. The endpoint stops when the set of
/// tasks is dropped.
async fn endpoint(authority: &Authority, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}/", listener.local_addr().expect("bound").port());
    let acceptor = authority.issue().acceptor();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate leaves in the middle of the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
            }
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.expect("answered");
            stream.shutdown().await.expect("ended");
        }
    });
    url
}

/// Publishes an event to the endpoint and returns the recorded attempt.
async fn delivered(client: &Client, url: &str) -> Value {
    register(client, &webhook("hook", url)).await;
    publish(client, &update()).await;
    wait::until("a recorded attempt", || async {
        let deliveries = client.get("/api/orgs/acme/hooks/hook/deliveries").await.expect(200).json();
        deliveries.as_array().expect("an array").first().cloned()
    })
    .await
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let (authority, mut tasks) = (Authority::new(), JoinSet::new());
    let url = endpoint(&authority, &mut tasks).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("company.pem");
    std::fs::write(&file, authority.pem()).expect("written");
    let setup = setup().flag("--outbound-allow", "::1");
    let file = file.to_str().expect("UTF-8");

    let trusting = setup.clone().flag("--outbound-ca-file", file).start().await;
    let delivery = delivered(&trusting.client(), &url).await;
    assert_eq!(delivery["responseCode"], 204, "{delivery}");

    let others = setup.start().await;
    let delivery = delivered(&others.client(), &url).await;
    assert_eq!(delivery["responseCode"], 0, "{delivery}");
    let text = delivery["responseBody"].as_str().expect("a text");
    assert!(text.contains("certificate"), "{text}");
}
