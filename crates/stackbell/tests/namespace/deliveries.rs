//! The binary resolves hosts like the system's libc, and never sends to a forbidden address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use stackbell_testkit::{Client, Receiver, ServerSetup, wait};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::name_server::NameServers;
use crate::network::{inside, write_hosts, write_resolv_conf};

const POD: &str = "nameserver 127.0.0.53\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

/// A server at another address that counts its connections.
struct Stranger {
    accepted: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Stranger {
    async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = Vec::new();
            while let Ok(connection) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                connections.push(connection);
            }
        });
        Self { accepted, _task: task }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn register(client: &Client, name: &str, host: &str, port: u16) {
    let url = format!("http://{host}:{port}/hook");
    let body = json!({"organizationName": "acme", "name": name, "displayName": name, "payloadUrl": url, "active": true});
    client.post("/api/orgs/acme/hooks", &body).await.expect(201);
}

async fn ping(client: &Client, name: &str) -> Value {
    client.post_empty(&format!("/api/orgs/acme/hooks/{name}/ping")).await.expect(200).json()
}

fn setup() -> ServerSetup {
    ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).embedded()
}

#[test]
#[ignore = "takes root and a network namespace: ./test runs it"]
fn a_pod_sends_to_its_service_and_not_to_the_public_host_of_that_name() {
    inside(async {
        write_hosts("");
        write_resolv_conf(POD);
        let mut servers = NameServers::new();
        let zone = "receiver.dev 127.0.0.9\nreceiver.dev.default.svc.cluster.local 127.0.0.1";
        servers.add("127.0.0.53:53".parse().expect("an address"), zone).await;
        let receiver = Receiver::start().await;
        let port = receiver.address().port();
        let public = Stranger::at(SocketAddr::from(([127, 0, 0, 9], port))).await;
        let server = setup().start().await;
        let client = server.client();
        register(&client, "hook", "receiver.dev", port).await;
        let pinged = ping(&client, "hook").await;
        assert_eq!(pinged["responseCode"], 200, "{pinged}");
        let event = json!({"kind": "stack_update", "payload": {
            "projectName": "web", "stackName": "prod", "updateUrl": "https://app.example.com/acme/web/prod/updates/42",
            "kind": "update", "result": "succeeded", "resourceChanges": {"create": 3, "same": 28}, "isPreview": false,
        }});
        client.post("/v1/orgs/acme/events", &event).await.expect(202);
        receiver.wait_for(2).await;
        let id = wait::until("a recorded attempt", || async {
            let deliveries = client.get("/api/orgs/acme/hooks/hook/deliveries").await.expect(200).json();
            let sent =
                deliveries.as_array().expect("an array").iter().find(|row| row["kind"] == "stack_update");
            sent.map(|row| row["id"].as_str().expect("an id").to_owned())
        });
        let again =
            client.post_empty(&format!("/api/orgs/acme/hooks/hook/deliveries/{}/redeliver", id.await)).await;
        assert_eq!(again.expect(200).json()["responseCode"], 200);
        assert_eq!((receiver.count(), public.accepted()), (3, 0));
    });
}

#[test]
#[ignore = "takes root and a network namespace: ./test runs it"]
fn forbidden_addresses_are_passed_over() {
    inside(async {
        write_hosts("127.0.0.1 localhost\n::1 localhost\n");
        write_resolv_conf("nameserver 127.0.0.53\n");
        let mut servers = NameServers::new();
        let zone = "mixed.example 127.0.0.1 fd00::7 64:ff9b::10.0.0.7\nmapped.example 127.0.0.1 ::ffff:127.0.0.1\n\
                    forbidden.example 10.0.0.7 fd00::7 64:ff9b::192.168.0.7\nmetadata.example 169.254.169.254";
        servers.add("127.0.0.53:53".parse().expect("an address"), zone).await;
        let receiver = Receiver::start().await;
        let port = receiver.address().port();
        let stranger = Stranger::at(format!("[::1]:{port}").parse().expect("an address")).await;
        let server = setup().start().await;
        let client = server.client();
        for (number, host) in ["localhost", "mixed.example", "mapped.example"].into_iter().enumerate() {
            let name = format!("good-{number}");
            register(&client, &name, host, port).await;
            let pinged = ping(&client, &name).await;
            assert_eq!(pinged["responseCode"], 200, "{host}: {pinged}");
        }
        for (number, (host, words)) in [
            ("forbidden.example", "10.0.0.7 (a private address)"),
            ("forbidden.example", "fd00::7 (a unique-local address)"),
            ("forbidden.example", "leads to 192.168.0.7, a private address"),
            ("metadata.example", "169.254.169.254 (a cloud metadata address)"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("bad-{number}");
            register(&client, &name, host, port).await;
            let pinged = ping(&client, &name).await;
            assert_eq!(pinged["responseCode"], 0, "{host}: {pinged}");
            let text = pinged["responseBody"].as_str().expect("a text");
            assert!(text.contains(words) && text.contains("--outbound-allow"), "{host}: {text}");
        }
        assert_eq!(stranger.accepted(), 0);
    });
}

/// A client that waits for each dead address in turn, or for the lost response, would exceed the connection timeout.
#[test]
#[ignore = "takes root and a network namespace: ./test runs it"]
fn dead_addresses_and_lost_answers_are_got_over() {
    inside(async {
        write_hosts("");
        write_resolv_conf("nameserver 127.0.0.53\noptions timeout:30\n");
        let mut servers = NameServers::new();
        let zone = "dead.example 198.51.100.7 198.51.100.8 198.51.100.9 127.0.0.1\n\
                    dead6.example 127.0.0.1 2001:db8::7 2001:db8::8 2001:db8::9\nhalf.example silent6 127.0.0.1";
        servers.add("127.0.0.53:53".parse().expect("an address"), zone).await;
        let receiver = Receiver::start().await;
        let port = receiver.address().port();
        let setup =
            setup().flag("--outbound-allow", "198.51.100.0/24").flag("--outbound-allow", "2001:db8::/32");
        let server = setup.start().await;
        let client = server.client();
        for host in ["dead", "dead6", "half"] {
            register(&client, host, &format!("{host}.example"), port).await;
            let pinged = ping(&client, host).await;
            assert_eq!(pinged["responseCode"], 200, "{host}: {pinged}");
        }
    });
}
