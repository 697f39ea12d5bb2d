use std::path::Path;

use stackbell_testkit::{ServerSetup, terminate};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use crate::support::{Desk, ended};

#[tokio::test]
async fn sending_is_held_and_resumed() {
    let desk = Desk::open().await;
    assert_eq!(desk.run("sending status").await.text(0), "Deliveries go out.\n");
    let held = desk.run("sending hold --reason 'the network moves'").await;
    assert!(held.text(0).starts_with("Deliveries are held since 20"), "{}", held.out);
    assert!(held.out.ends_with("Z: the network moves\n"), "{}", held.out);
    let status = desk.run("sending status --output json").await.json(0);
    assert_eq!(status["sending"]["held"], true);
    assert_eq!(desk.run("sending resume").await.text(0), "Deliveries go out.\n");
}

#[tokio::test]
async fn keys_are_made_and_rotated() {
    let desk = Desk::open_embedded().await;
    let key = desk.run("key new").await;
    assert_eq!(key.text(0).trim().len(), 44);
    assert_ne!(desk.run("key new").await.out, key.out);
    let before = std::fs::read(desk.server.data().join("master.key")).expect("a key");
    let rotated = desk.run("key rotate").await;
    assert!(rotated.text(0).contains("sealed under the new master key"), "{}", rotated.out);
    assert_ne!(std::fs::read(desk.server.data().join("master.key")).expect("a key"), before);
}

#[tokio::test]
async fn a_backup_is_restored_with_sending_held() {
    let desk = Desk::open_embedded().await;
    desk.webhook("ci").await;
    desk.publish().await;
    let made = desk.run("backup --to copy.db").await;
    assert!(made.text(0).starts_with("Wrote copy.db ("), "{}", made.out);
    assert!(made.out.contains("  webhooks "), "{}", made.out);
    desk.run("backup --to copy.db").await.said(1, "copy.db is there already");

    // A restore fails without the master key, and leaves nothing behind.
    desk.run("restore copy.db --data restored").await.said(1, "master key");
    let restored = desk.folder().join("restored");
    assert!(!restored.join("stackbell.db").exists());
    std::fs::copy(desk.server.data().join("master.key"), restored.join("master.key")).expect("copied");
    let text = desk.run("restore copy.db --data restored").await;
    assert!(
        text.text(0).starts_with("Restored copy.db to restored/stackbell.db; its digest is right.\n"),
        "{}",
        text.out
    );
    assert!(text.out.contains("Sending is held: restored from a backup made at 20"), "{}", text.out);
    desk.run("restore copy.db --data restored").await.said(1, "restore into an empty data folder");

    let serving = Serving::start(&ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")), &restored).await;
    let mut status = desk.command("sending status");
    status.env("STACKBELL_URL", &serving.url);
    let status = ended(status).await;
    assert!(status.text(0).contains("restored from a backup"), "{}", status.out);
    serving.stop().await;
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let desk = Desk::open_embedded().await;
    desk.run("backup --to copy.db").await.text(0);
    let path = desk.folder().join("copy.db");
    let mut bytes = std::fs::read(&path).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    desk.run("restore copy.db --data d").await.said(1, "the SHA-256 in copy.db.sha256 does not match");
    std::fs::write(&path, "no store").expect("written");
    std::fs::remove_file(desk.folder().join("copy.db.sha256")).expect("removed");
    desk.run("restore copy.db --data d").await.said(1, "copy.db is not a valid store");
    desk.run("restore nowhere.db --data d").await.said(1, "nowhere.db");
    assert!(!desk.folder().join("d/stackbell.db").exists());
}

/// A second server, in addition to the desk's.
struct Serving {
    child: Child,
    url: String,
    /// The pipe stays open, because the server's log needs a reader.
    _log: Lines<BufReader<ChildStderr>>,
}

impl Serving {
    async fn start(setup: &ServerSetup, data: &Path) -> Self {
        let mut child = setup.command(data).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut log = String::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "stackbell serves" {
                let url = format!("http://{}", entry["listen"].as_str().expect("an address"));
                return Self { child, url, _log: lines };
            }
            log.push_str(&line);
        }
        panic!("it does not serve:\n{log}");
    }

    async fn stop(mut self) {
        terminate(&self.child);
        assert!(self.child.wait().await.expect("it ends").success());
    }
}

/// The client reaches a server with TLS only with its certificate in a file.
#[tokio::test]
async fn private_certificates_are_trusted_when_named() {
    let plain = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    // The certificate is like one of `openssl req -x509`.
    let mut authority = plain.clone();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    for params in [plain, authority] {
        check_private_certificate(&params).await;
    }
}

async fn check_private_certificate(params: &rcgen::CertificateParams) {
    let desk = Desk::open().await;
    let made_key = rcgen::KeyPair::generate().expect("a key");
    let made = params.self_signed(&made_key).expect("a certificate");
    let path = |name: &str| desk.folder().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    std::fs::write(&certificate, made.pem()).expect("written");
    std::fs::write(&key, made_key.serialize_pem()).expect("written");
    let setup = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))
        .flag("--tls-cert", &certificate)
        .flag("--tls-key", &key);
    let serving = Serving::start(&setup, &desk.folder().join("data")).await;
    let url = serving.url.replace("http://", "https://");
    let list = |variables: &[(&str, &str)], flags: &str| {
        let mut command = desk.command(&format!("org list --server {url} {flags}"));
        command.envs(variables.iter().copied());
        ended(command)
    };
    list(&[], "").await.said(3, "its certificate is not trusted");
    list(&[], "")
        .await
        .said(3, "--ca-file (or STACKBELL_CA_FILE) adds an authority, or the certificate itself");
    list(&[], "--ca-file cert.pem").await.text(0);
    list(&[("STACKBELL_CA_FILE", &certificate)], "").await.text(0);
    list(&[("SSL_CERT_FILE", &certificate)], "").await.text(0);
    list(&[], "--ca-file nowhere.pem").await.said(1, "cannot read the certificates in nowhere.pem");
    serving.stop().await;
}
