//! Nothing reaches a forbidden address (invariant 7). A listener that counts connections shows it.

use std::sync::Arc;

use stackbell_engine::outbound::DnsResolver;
use stackbell_model::delivery::Silence;

use super::support::{Names, OK, Server, Setup, answer, assert_silent, request, send};

/// No spelling of a host reaches a listener on loopback without an allowance.
async fn check_refused(host: &str, names: &[&[&str]], text: &str) {
    let server = Server::answering(OK).await;
    let client = Setup::allowing("").names(&Names::new(names)).client().await;
    let url = format!("http://{host}:{}/secret", server.port());
    assert_silent(&send(&client, &url).await, Silence::Forbidden, text);
    assert_eq!(server.accepted(), 0, "{url}");
}

#[tokio::test]
async fn loopback_is_refused_in_any_spelling() {
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "user:word@127.0.0.1",
    ] {
        check_refused(host, &[], "a loopback address").await;
    }
    check_refused("[::1]", &[], "a loopback address").await;
    check_refused("[0:0:0:0:0:0:0:1]", &[], "a loopback address").await;
    check_refused("0.0.0.0", &[], "an unspecified address").await;
    check_refused("0", &[], "an unspecified address").await;
    check_refused("[::]", &[], "an unspecified address").await;
}

#[tokio::test]
async fn ways_from_ipv6_to_ipv4_are_refused() {
    check_refused("[::ffff:127.0.0.1]", &[], "an IPv4-mapped address").await;
    check_refused("[::ffff:7f00:1]", &[], "an IPv4-mapped address").await;
    for host in [
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2606:4700::5efe:127.0.0.1]",
    ] {
        check_refused(host, &[], "an IPv6 transition address").await;
    }
}

#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    for host in ["localhost", "LOCALHOST", "localhost.", "hooks.example.com"] {
        check_refused(host, &[&["127.0.0.1"]], "a loopback address").await;
    }
    let host = "hooks.example.com";
    check_refused(host, &[&["[::1]"]], "a loopback address").await;
    check_refused(host, &[&["[::ffff:127.0.0.1]"]], "an IPv4-mapped address").await;
    check_refused(host, &[&["10.0.0.1"]], "a private address").await;
    check_refused(host, &[&["192.168.0.1"]], "a private address").await;
    check_refused(host, &[&["[fd00::1]"]], "a unique-local address").await;
    check_refused(host, &[&["[fe80::1]"]], "a link-local address").await;
    check_refused(host, &[&["100.64.0.1"]], "a carrier-grade NAT address").await;
    check_refused(host, &[&["169.254.169.254"]], "a cloud metadata address").await;
    check_refused(host, &[&["168.63.129.16"]], "a cloud metadata address").await;
}

#[tokio::test]
async fn nat64_is_judged_by_the_ipv4_address_inside() {
    check_refused("[64:ff9b::127.0.0.1]", &[], "leads to 127.0.0.1, a loopback address").await;
    check_refused("hooks.example.com", &[&["[64:ff9b::10.0.0.1]"]], "leads to 10.0.0.1, a private address")
        .await;
    // The policy allows the address, although no translator exists here.
    let names = Names::new(&[&["[64:ff9b::127.0.0.1]", "127.0.0.1"]]);
    let server = Server::answering(OK).await;
    let client = Setup::allowing("127.0.0.0/8").names(&names).client().await;
    let url = format!("http://hooks.example.com:{}/secret", server.port());
    assert_eq!(answer(send(&client, &url).await).status, 200);
}

#[tokio::test]
async fn forbidden_addresses_of_a_host_are_passed_over() {
    for addresses in [
        &["127.0.0.1", "10.0.0.1"],
        &["10.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "[fd00::1]"],
        &["[::1]", "127.0.0.1"],
        &["127.0.0.1", "[::ffff:10.0.0.1]"],
        &["169.254.169.254", "127.0.0.1"],
    ] {
        let server = Server::answering(OK).await;
        let client = Setup::allowing("127.0.0.0/8").names(&Names::new(&[addresses])).client().await;
        let url = format!("http://hooks.example.com:{}/secret", server.port());
        assert_eq!(answer(send(&client, &url).await).status, 200, "{addresses:?}");
    }
}

#[tokio::test]
async fn a_host_without_an_allowed_address_is_refused_and_its_addresses_are_named() {
    let server = Server::answering(OK).await;
    let allowed = format!("127.0.0.2/32:{}", server.port());
    let names = Names::new(&[&["127.0.0.1", "[fd00::1]", "169.254.169.254"]]);
    let client = Setup::allowing(Box::leak(allowed.into())).names(&names).client().await;
    let exchange = send(&client, &format!("http://hooks.example.com:{}/secret", server.port())).await;
    for words in [
        "127.0.0.1 (a loopback address)",
        "fd00::1 (a unique-local address)",
        "169.254.169.254 (a cloud metadata address)",
        "--outbound-allow",
    ] {
        assert_silent(&exchange, Silence::Forbidden, words);
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_judged_again() {
    let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let decoy = Server::answering_once(&closing[..]).await;
    let secret = Server::start_at(([127, 0, 0, 2], decoy.port()).into(), |_| async {}).await;
    let names = Names::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = Setup::allowing("127.0.0.1").names(&names).client().await;
    let url = format!("http://rebinding.example.com:{}/secret", decoy.port());

    assert_eq!(answer(send(&client, &url).await).status, 200);
    assert_eq!(names.asked().len(), 1, "the address that was judged is the one that is connected to");
    assert_silent(&send(&client, &url).await, Silence::Forbidden, "a loopback address");
    assert_eq!((decoy.accepted(), secret.accepted()), (1, 0));
}

#[tokio::test]
async fn names_are_asked_for_in_one_spelling() {
    let server = Server::answering(OK).await;
    let names = Names::new(&[&["127.0.0.1"]]);
    let client = Setup::default().names(&names).client().await;
    for host in ["hooks.example.com", "HOOKS.Example.COM", "hooks.example.com.", "hooks.example.com.."] {
        answer(send(&client, &format!("http://{host}:{}/secret", server.port())).await);
    }
    // The other requests reused the first connection, under its normal spelling.
    assert_eq!(
        names.asked(),
        ["hooks.example.com", "hooks.example.com."],
        "the absolute name is another one"
    );
}

#[tokio::test]
async fn names_that_the_system_knows_are_judged_too() {
    let server = Server::answering(OK).await;
    let url = format!("http://localhost:{}/secret", server.port());
    let setup = |allow| Setup { names: Arc::new(DnsResolver::default()), ..Setup::allowing(allow) };
    assert_silent(&send(&setup("").client().await, &url).await, Silence::Forbidden, "a loopback address");
    assert_eq!(server.accepted(), 0);
    for allow in ["127.0.0.0/8", "127.0.0.0/8 ::1"] {
        assert_eq!(answer(send(&setup(allow).client().await, &url).await).status, 200, "{allow}");
    }

    let nowhere = send(&setup("").client().await, "http://nowhere.invalid/secret").await;
    assert_silent(&nowhere, Silence::Unresolved, "http://nowhere.invalid:80: there is no such name");
}

#[tokio::test]
async fn redirects_are_answers() {
    let secret = Server::answering(OK).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = secret.url();
        let head = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let server = Server::answering(head).await;
        let client = Setup::default().client().await;
        let answer = answer(send(&client, &server.url()).await);
        assert_eq!(answer.status.to_string(), status[..3]);
        assert!(answer.headers.contains(&format!("Location: {location}\r\n")), "{}", answer.headers);
    }
    assert_eq!(secret.accepted(), 0);
}

#[tokio::test]
async fn allowances_open_networks_ports_and_organizations() {
    let server = Server::answering(OK).await;
    let url = server.url();
    let client = Setup::allowing("127.0.0.0/8@acme").client().await;
    assert_eq!(answer(client.send(request("acme", &url), 10).await).status, 200);
    assert_silent(&client.send(request("other", &url), 10).await, Silence::Forbidden, "--outbound-allow");
    assert_eq!(server.accepted(), 1, "the other one did not get the first one's connection");

    let client = Setup::allowing("127.0.0.0/8:1").client().await;
    assert_silent(&send(&client, &url).await, Silence::Forbidden, "a loopback address");
    assert_eq!(server.accepted(), 1);
}
