//! Invariant 7: without an allowance, no request reaches this machine or its networks, however the host is written.

use serde_json::Value;
use stackbell_testkit::Receiver;

use crate::support::{publish, register, setup, update, webhook};

/// Hosts that mean loopback, or are forbidden for another reason.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "127.0.0.1.",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0X7F.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0x0.0.01",
    "0.0.0.0",
    "0",
    "0x0",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "user:password@localhost",
    "user@127.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[2001:0:1:1:0:0:80ff:fffe]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[ff02::1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "10.1",
    "0xa000001",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "3232235521",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
];

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_is_reached() {
    let receiver = Receiver::start().await;
    let server = setup().without_allowance().start().await;
    let client = server.client();
    let mut saved = Vec::new();
    for (number, host) in HOSTS.iter().enumerate() {
        let url = format!("http://{host}:{}/hook", receiver.address().port());
        let name = format!("hook-{number}");
        let answer = client.post("/api/orgs/acme/hooks", &webhook(&name, &url)).await;
        match answer.status {
            400 => assert!(answer.text().contains("payloadUrl"), "{host}: {}", answer.text()),
            201 => saved.push((name, host)),
            _ => panic!("{host}: {} {}", answer.status, answer.text()),
        }
    }
    // Names are checked when they are resolved.
    assert!(saved.iter().any(|(_, host)| **host == "localhost"), "{saved:?}");
    for (name, host) in &saved {
        assert!(host.to_lowercase().contains("localhost"), "{host} was saved");
        let answer = client.post_empty(&format!("/api/orgs/acme/hooks/{name}/ping")).await.expect(200);
        check_refused(&answer.json(), host);
    }
    publish(&client, &update()).await;
    for (name, host) in &saved {
        let path = format!("/api/orgs/acme/hooks/{name}/deliveries");
        let recorded = stackbell_testkit::wait::until("a recorded attempt", || async {
            let deliveries = client.get(&path).await.expect(200).json();
            deliveries.as_array().expect("an array").iter().find(|row| row["kind"] == "stack_update").cloned()
        });
        check_refused(&recorded.await, host);
    }
    assert_eq!(receiver.connections(), 0);
    server.assert_quiet();
}

fn check_refused(delivery: &Value, host: &str) {
    assert_eq!(delivery["responseCode"], 0, "{host}: {delivery}");
    let text = delivery["responseBody"].as_str().expect("a text");
    assert!(text.contains("loopback") && text.contains("--outbound-allow"), "{host}: {text}");
}

/// A response of an allowed server cannot redirect a delivery to another host.
#[tokio::test]
async fn redirects_and_proxies_are_not_followed() {
    let (allowed, elsewhere) = tokio::join!(Receiver::start(), Receiver::start());
    let allowance = format!("127.0.0.1/32:{}", allowed.address().port());
    let server = setup().without_allowance().flag("--outbound-allow", &allowance).start().await;
    let client = server.client();
    let redirect = stackbell_testkit::Reply::status(302).header("Location", &elsewhere.url("/"));
    allowed.answer(redirect);
    register(&client, &webhook("hook", &allowed.url("/"))).await;
    let delivery = client.post_empty("/api/orgs/acme/hooks/hook/ping").await.expect(200).json();
    assert_eq!(delivery["responseCode"], 302);
    let other = webhook("other", &elsewhere.url("/"));
    client.post("/api/orgs/acme/hooks", &other).await.expect(400);
    assert_eq!((allowed.connections(), elsewhere.connections()), (1, 0));
}
