//! Certificates are verified, and nothing is sent to whom they do not prove.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use stackbell_engine::outbound::{
    DnsResolver, OutboundClient, OutboundError, OutboundPolicy, OutboundSettings,
};
use stackbell_model::delivery::Silence;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::support::{Names, OK, Server, Setup, answer, assert_silent, hold, read_request, send};

/// A server with a certificate of its own making for `name`, and that certificate as PEM.
async fn tls_server(name: &str) -> (Server, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK).await.expect("the client waits");
            }
        }
    })
    .await;
    (server, cert.pem())
}

fn trusting(pem: &str) -> (OutboundSettings, tempfile::TempPath) {
    let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    std::fs::write(&file, pem).expect("written");
    (OutboundSettings { ca_file: Some(file.to_path_buf()), ..OutboundSettings::default() }, file)
}

async fn client(settings: OutboundSettings) -> OutboundClient {
    Setup { settings, ..Setup::default() }.names(&Names::new(&[&["127.0.0.1"]])).client().await
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_and_a_trusted_one_accepted() {
    let (server, pem) = tls_server("hooks.example.com").await;
    let url = format!("https://hooks.example.com:{}/secret", server.port());
    let exchange = send(&client(OutboundSettings::default()).await, &url).await;
    assert_silent(&exchange, Silence::Unreachable, "--outbound-ca-file");

    let (settings, _file) = trusting(&pem);
    let client = client(settings).await;
    let accepted = server.accepted();
    for _ in 0..2 {
        assert_eq!(answer(send(&client, &url).await).status, 200);
    }
    assert_eq!(server.accepted(), accepted + 1, "connections under TLS are used again, too");
}

#[tokio::test]
async fn an_absolute_name_is_proved_by_a_certificate_for_the_name() {
    let (server, pem) = tls_server("hooks.example.com").await;
    let (settings, _file) = trusting(&pem);
    let url = format!("https://hooks.example.com.:{}/secret", server.port());
    assert_eq!(answer(send(&client(settings).await, &url).await).status, 200);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (server, pem) = tls_server("other.example.com").await;
    let (settings, _file) = trusting(&pem);
    let url = format!("https://hooks.example.com:{}/secret", server.port());
    let exchange = send(&client(settings).await, &url).await;
    assert_silent(&exchange, Silence::Unreachable, "TLS could not be set up");
}

#[tokio::test]
async fn an_address_can_have_a_certificate() {
    let (server, pem) = tls_server("127.0.0.1").await;
    let (settings, _file) = trusting(&pem);
    let url = format!("https://127.0.0.1:{}/secret", server.port());
    assert_eq!(answer(send(&client(settings).await, &url).await).status, 200);
}

#[tokio::test]
async fn a_port_that_speaks_http_alone() {
    let server = Server::start(|mut stream| async move {
        // Servers answer what they take for a bad request.
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("the client waits");
        hold(stream).await;
    })
    .await;
    let url = format!("https://127.0.0.1:{}/secret", server.port());
    let exchange = send(&client(OutboundSettings::default()).await, &url).await;
    assert_silent(&exchange, Silence::Unreachable, "the port does not speak TLS");
}

#[tokio::test]
async fn a_server_that_does_not_take_part_in_tls() {
    let server = Server::start(hold).await;
    let url = format!("https://127.0.0.1:{}/secret", server.port());
    let settings = OutboundSettings { exchange_time: Duration::from_secs(1), ..OutboundSettings::default() };
    assert_silent(&send(&client(settings).await, &url).await, Silence::Unreachable, "not set up in time");

    let server = Server::start(|stream| async move { drop(stream) }).await;
    let url = format!("https://127.0.0.1:{}/secret", server.port());
    let exchange = send(&client(OutboundSettings::default()).await, &url).await;
    assert_silent(&exchange, Silence::Unreachable, "ended while TLS was being set up");
}

#[tokio::test]
async fn bad_files_of_authorities() {
    let check = async |settings: OutboundSettings, expected: &str| {
        let resolver = Arc::new(DnsResolver::default());
        let policy = OutboundPolicy::default();
        let made = OutboundClient::new(&settings, &policy, resolver, super::support::clock()).await;
        match made {
            Err(OutboundError::Trust(error)) => assert!(error.to_string().starts_with(expected), "{error}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("made, instead of: {expected}"),
        }
    };
    let missing = OutboundSettings { ca_file: Some("/nowhere/ca.pem".into()), ..OutboundSettings::default() };
    check(missing, "cannot read the certificates in /nowhere/ca.pem").await;
    let (settings, _file) = trusting("no certificate");
    check(settings, "there is no certificate in").await;
    let (settings, _file) = trusting("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check(settings, "a certificate in").await;
}
