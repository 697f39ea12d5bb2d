//! A log that cannot be written, or has no reader: the server still starts, responds, delivers and stops.
//!
//! Such a server cannot log its address, so each test uses its own address in the loopback network.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;
use stackbell_testkit::{Client, Receiver, terminate, wait};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::{publish, register, server, update, webhook};

const TOKEN: &str = "test-token-of-more-than-32-characters";

/// An address that no other test on this machine uses.
fn address() -> SocketAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, high | 128, low, number)), 8722)
}

async fn start(stderr: Stdio, log_level: &str) -> (Child, Client, tempfile::TempDir) {
    let (data, address) = (tempfile::tempdir().expect("a folder"), address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    command.env_clear().args(["serve", "--outbound-allow", "127.0.0.0/8", "--log-level", log_level]);
    command.arg("--listen").arg(address.to_string()).arg("--data").arg(data.path());
    command.env("STACKBELL_BOOTSTRAP_ORG", "acme").env("STACKBELL_BOOTSTRAP_TOKEN", TOKEN);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    wait::until("a server that listens", || async { TcpStream::connect(address).await.ok() }).await;
    assert!(child.try_wait().expect("asked").is_none(), "it ended");
    let client = Client::new(&format!("http://{address}"), TOKEN);
    wait::until("readiness", || async { (client.get("/readyz").await.status == 200).then_some(()) }).await;
    (child, client, data)
}

/// Checks that the server responds, delivers and stops. Returns the number of lines dropped from its log.
async fn check(stderr: Stdio, log_level: &str, requests: usize) -> u64 {
    let (mut child, client, _data) = start(stderr, log_level).await;
    let stranger = client.with_token("somebody-elses");
    for _ in 0..requests {
        stranger.get("/api/orgs/acme/hooks").await.expect(401);
    }
    let receiver = Receiver::start().await;
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    publish(&client, &update()).await;
    receiver.wait_for(1).await;
    let metrics = client.get("/metrics").await.expect(200);
    terminate(&child);
    let status = child.wait().await.expect("it ends");
    assert!(status.success(), "{status}");
    let mut lines = metrics.text().lines();
    let left_out = lines.find_map(|line| line.strip_prefix("stackbell_log_lines_left_out_total "));
    left_out.expect("the metric is there").parse().expect("a number")
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("a device that is full");
    assert!(check(full.into(), "info", 20).await > 0);
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_stops_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert!(check(writer.into(), "info", 20).await > 0);
}

/// A pipe holds 64 KiB, less than the log lines of these requests.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    check(writer.into(), "debug", 500).await;
    drop(reader);
}

#[tokio::test]
async fn refused_requests_of_strangers_are_few_lines_and_a_number() {
    const REQUESTS: u64 = 200;
    let server = server().await;
    let stranger = server.client().with_token("somebody-elses");
    for number in 0..REQUESTS {
        let (path, status) = if number % 2 == 0 { ("/api/orgs/acme/hooks", 401) } else { ("/nowhere", 404) };
        stranger.get(path).await.expect(status);
    }
    let told = || {
        let log = server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let (mut logged, mut left_out) = (0, 0);
        for line in lines {
            logged += u64::from(line["message"] == "refused");
            left_out += line["left_out"].as_u64().unwrap_or_default();
        }
        (logged, left_out)
    };
    // The number of dropped lines is logged with the next line.
    let (logged, left_out) = wait::until("all to be told of", || async {
        server.client().get("/healthz").await.expect(200);
        let (logged, left_out) = told();
        (logged + left_out >= REQUESTS).then_some((logged, left_out))
    })
    .await;
    assert_eq!(logged + left_out, REQUESTS);
    assert!(left_out > 0, "{logged} lines");
}
