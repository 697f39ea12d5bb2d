//! TLS in the server itself, and operations at a separate address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use stackbell_testkit::{Client, Server, wait};

use crate::certificates::{Authority, Issued};
use crate::support::setup;

/// The files of a server's certificate and key.
struct Files {
    _folder: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(issued: &Issued) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        issued.write(&certificate, &key);
        Self { _folder: folder, certificate, key }
    }

    fn flags(&self) -> [(&str, &str); 2] {
        [("--tls-cert", text(&self.certificate)), ("--tls-key", text(&self.key))]
    }

    async fn server(&self) -> Server {
        let setup = setup().flag("--ops-listen", "127.0.0.1:0");
        self.flags().into_iter().fold(setup, |setup, (flag, value)| setup.flag(flag, value)).start().await
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_serves() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let files = Files::new(&first);
    let server = files.server().await;
    let ask = async || {
        let head = format!("GET /v1/orgs/acme/webhooks HTTP/1.1\r\nAuthorization: token {}", server.token());
        let (presented, answer) = authority.ask(server.address(), &head).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        presented
    };
    assert_eq!(&ask().await, first.certificate.der());
    second.write(&files.certificate, &files.key);
    server.hang_up();
    wait::until("the new certificate", || async { (&ask().await == second.certificate.der()).then_some(()) })
        .await;
    std::fs::write(&files.key, first.key.serialize_pem()).expect("written");
    server.hang_up();
    wait::until("a refusal in the log", || async {
        server.log().contains("the TLS certificate was not changed").then_some(())
    })
    .await;
    assert_eq!(&ask().await, second.certificate.der());
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}

#[tokio::test]
async fn operations_have_an_address_of_their_own() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let server = files.server().await;
    let operations = Client::new(&server.operations_url().expect("it has one"), server.token());
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        operations.get(path).await.expect(200);
        let (_, answer) = authority.ask(server.address(), &format!("GET {path} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    operations.get("/api/user").await.expect(404);
    server.assert_quiet();
}

/// The error of a server that is started with these flags.
async fn refused(flags: &[(&str, &str)]) -> String {
    let data = tempfile::tempdir().expect("a folder");
    let setup = flags.iter().fold(setup(), |setup, (flag, value)| setup.flag(flag, value));
    let output = setup.command(data.path()).output().await.expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(!data.path().join("stackbell.db").exists(), "nothing is begun");
    text
}

#[tokio::test]
async fn unusable_certificates_refuse_the_start() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    std::fs::write(&files.key, authority.issue().key.serialize_pem()).expect("written");
    let log = refused(&files.flags()).await;
    assert!(log.contains("tls_cert (") && log.contains("are not a usable pair"), "{log}");
    let log = refused(&files.flags()[..1]).await;
    assert!(log.contains("tls_cert is set and tls_key is not"), "{log}");
}

/// The doctor checks the files, and the certificate that the running server presents.
#[tokio::test]
async fn the_doctor_knows_certificates() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let server = files.server().await;
    let listen: SocketAddr = server.address();
    let doctor = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
        command.env_clear().arg("doctor").arg("--data").arg(server.data());
        command.args(["--listen", &listen.to_string()]);
        command.args(files.flags().into_iter().flat_map(<[&str; 2]>::from));
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        String::from_utf8(output.expect("it runs").stdout).expect("UTF-8")
    };
    let report = doctor().await;
    for expected in ["ok    certificate", "ok    tls names", "ok    presented"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    authority.issue().write(&files.certificate, &files.key);
    // The server may have loaded the new pair already.
    let report = doctor().await;
    assert!(
        report.contains("presents another certificate") || report.contains("ok    presented"),
        "{report}"
    );
    std::fs::write(&files.key, "none").expect("written");
    assert!(doctor().await.contains("fail  certificate"));
}
