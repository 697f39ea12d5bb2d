//! Certificates are verified, and nothing is sent to unverified servers.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use stackbell_engine::outbound::{
    DnsResolver, Exchange, OutboundClient, OutboundError, OutboundPolicy, OutboundSettings,
};
use stackbell_model::delivery::{Outcome, Silence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::support::{Names, OK, Server, Setup, answer, assert_silent, hold, read_request, send};

/// A self-signed certificate with its key.
fn self_signed(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    edit(&mut params);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate"), key)
}

/// Edits the certificate like `openssl req -x509`, which marks it as an authority.
fn as_openssl_does(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// The clients that a server accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Anybody,
    ACertificate,
}

fn server_config(
    (certificate, key): &(Certificate, KeyPair),
    versions: &[&'static SupportedProtocolVersion],
    wants: Wants,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).expect("versions");
    let builder = match wants {
        Wants::Anybody => builder.with_no_client_auth(),
        Wants::ACertificate => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    builder.with_single_cert(vec![certificate.der().clone()], key).expect("a pair")
}

async fn serving(config: ServerConfig) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK).await.expect("the client waits");
            }
        }
    })
    .await
}

async fn serving_with(pair: &(Certificate, KeyPair)) -> Server {
    serving(server_config(pair, rustls::ALL_VERSIONS, Wants::Anybody)).await
}

/// A server with a self-signed certificate for `name`, and that certificate as PEM.
async fn tls_server(name: &str) -> (Server, String) {
    let pair = self_signed(name, |_| ());
    (serving_with(&pair).await, pair.0.pem())
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
    let text = "its certificate is for other.example.com and not for hooks.example.com";
    assert_silent(&exchange, Silence::Unreachable, text);
}

/// The exchange with a server that shows the certificate `shown`, for the name `hooks.example.com`, if `pem` is trusted.
async fn asked(shown: &(Certificate, KeyPair), pem: Option<&str>) -> Exchange {
    let server = serving_with(shown).await;
    let url = format!("https://hooks.example.com:{}/secret", server.port());
    match pem {
        Some(pem) => {
            let (settings, _file) = trusting(pem);
            send(&client(settings).await, &url).await
        }
        None => send(&client(OutboundSettings::default()).await, &url).await,
    }
}

/// The certificate in the file itself is trusted, even if it claims to be an authority.
#[tokio::test]
async fn a_self_signed_certificate_that_calls_itself_an_authority_can_be_listed() {
    let shown = self_signed("hooks.example.com", as_openssl_does);
    assert_eq!(answer(asked(&shown, Some(&shown.0.pem())).await).status, 200);
    // The certificate may be among others, at any position.
    let others: String = (0..3).map(|_| self_signed("x.example", as_openssl_does).0.pem()).collect();
    assert_eq!(answer(asked(&shown, Some(&format!("{others}{}", shown.0.pem()))).await).status, 200);
}

#[tokio::test]
async fn a_listed_certificate_counts_for_its_names_and_its_time_alone() {
    let check = async |name: &str, edit: fn(&mut CertificateParams), text: &str| {
        let shown = self_signed(name, edit);
        let exchange = asked(&shown, Some(&shown.0.pem())).await;
        assert_silent(&exchange, Silence::Unreachable, text);
    };
    let other = "its certificate is for other.example.com and not for hooks.example.com";
    check("other.example.com", as_openssl_does, other).await;
    let expired = |params: &mut CertificateParams| {
        as_openssl_does(params);
        params.not_after = date_time_ymd(2001, 1, 1);
    };
    check("hooks.example.com", expired, "its certificate expired ").await;
    let early = |params: &mut CertificateParams| {
        as_openssl_does(params);
        params.not_before = date_time_ymd(4000, 1, 1);
    };
    check("hooks.example.com", early, "its certificate is not valid yet").await;
    let nameless = |params: &mut CertificateParams| {
        as_openssl_does(params);
        params.subject_alt_names.clear();
    };
    check("hooks.example.com", nameless, "it needs a subjectAltName").await;
    let for_clients = |params: &mut CertificateParams| {
        as_openssl_does(params);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    check("hooks.example.com", for_clients, "not one for servers").await;
}

/// Reasons name trust and the setting.
#[tokio::test]
async fn unlisted_certificates_are_not_trusted() {
    let shown = self_signed("hooks.example.com", as_openssl_does);
    let twin = {
        let mut params = CertificateParams::new(["hooks.example.com".to_owned()]).expect("a name");
        as_openssl_does(&mut params);
        params.self_signed(&shown.1).expect("a certificate").pem()
    };
    for pem in [None, Some(self_signed("hooks.example.com", as_openssl_does).0.pem()), Some(twin)] {
        let exchange = asked(&shown, pem.as_deref()).await;
        assert_silent(&exchange, Silence::Unreachable, "its certificate is not trusted");
        assert_silent(&exchange, Silence::Unreachable, "--outbound-ca-file");
    }
}

/// An authority in the file is trusted for the certificates that it signed.
#[tokio::test]
async fn an_authority_signs_for_others() {
    let (authority, authority_key) = self_signed("ca.example", as_openssl_does);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["hooks.example.com".to_owned()]).expect("a name");
    let mut issuer = CertificateParams::new(["ca.example".to_owned()]).expect("a name");
    as_openssl_does(&mut issuer);
    let leaf = params.signed_by(&key, &Issuer::new(issuer, authority_key)).expect("a certificate");
    assert_eq!(answer(asked(&(leaf, key), Some(&authority.pem())).await).status, 200);
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_its_client() {
    let pair = self_signed("127.0.0.1", as_openssl_does);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = serving(server_config(&pair, &[version], Wants::ACertificate)).await;
        let (settings, _file) = trusting(&pair.0.pem());
        let exchange = send(&client(settings).await, &format!("https://{}/secret", server.address)).await;
        assert_silent(&exchange, Silence::Unreachable, "the server asks for a client certificate");
    }
}

/// A server that responds to the TLS handshake with these bytes.
async fn greeting(bytes: &'static [u8]) -> String {
    let server = Server::start(move |mut stream| async move {
        stream.read_u8().await.expect("a client speaks");
        stream.write_all(bytes).await.expect("the client waits");
        hold(stream).await;
    })
    .await;
    let url = format!("https://{}/secret", server.address);
    match send(&client(OutboundSettings::default()).await, &url).await.outcome {
        Outcome::Unanswered { silence: Silence::Unreachable, text } => text.into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn servers_with_which_tls_has_nothing_in_common() {
    let alert = async |bytes: &'static [u8], expected: &str| {
        let text = greeting(bytes).await;
        assert!(text.contains(expected), "{text}");
    };
    alert(&[21, 3, 3, 0, 2, 2, 40], "no TLS cipher suite in common").await;
    alert(&[21, 3, 3, 0, 2, 2, 71], "no TLS cipher suite in common").await;
    alert(&[21, 3, 1, 0, 2, 2, 70], "no TLS version in common").await;
    alert(&[21, 3, 3, 0, 2, 2, 112], "no certificate for this host").await;
    alert(&[21, 3, 3, 0, 2, 2, 80], "the alert InternalError").await;
    alert(b"SSH-2.0-OpenSSH_9.6\r\n", "the port does not speak TLS").await;
    alert(b"HTTP/1.0 400 Bad Request\r\n\r\n", "the port speaks plain HTTP").await;
}

/// An idle connection under TLS can be closed, too.
#[tokio::test]
async fn a_connection_under_tls_that_breaks_before_an_answer_is_replaced() {
    let pair = self_signed("127.0.0.1", as_openssl_does);
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&pair, rustls::ALL_VERSIONS, Wants::Anybody)));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_request(&mut stream).await;
            stream.write_all(OK).await.expect("the client waits");
            read_request(&mut stream).await;
        }
    })
    .await;
    let (settings, _file) = trusting(&pair.0.pem());
    let client = client(settings).await;
    let url = format!("https://{}/secret", server.address);
    for accepted in 1..=2 {
        assert_eq!(answer(send(&client, &url).await).status, 200);
        assert_eq!(server.accepted(), accepted);
    }
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
        // Servers respond to what they read as a bad request.
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("the client waits");
        hold(stream).await;
    })
    .await;
    let url = format!("https://127.0.0.1:{}/secret", server.port());
    let exchange = send(&client(OutboundSettings::default()).await, &url).await;
    let text = format!("https://{}: the port speaks plain HTTP, and the URL says https://", server.address);
    assert_silent(&exchange, Silence::Unreachable, &text);
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
