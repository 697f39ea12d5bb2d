//! The certificate in the files, and the one that a server presents.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use stackbell_config::{ServerSettings, TlsFiles};
use stackbell_model::Timestamp;
use stackbell_server::tls::Pair;
use stackbell_system::local_url;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Fail, Finding, Fine, Report, Warn, failed};

/// A certificate that expires sooner than this gives a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

pub(super) fn certificate(
    files: &TlsFiles,
    server: &ServerSettings,
    now: Timestamp,
    report: &mut Report<'_>,
) -> io::Result<()> {
    report.add("tls key", key_file(files))?;
    match Pair::load(files) {
        Err(error) => report.add("certificate", failed(error)),
        Ok(pair) => {
            report.add("certificate", validity(&pair, now))?;
            report.add("tls names", names(&pair, server))
        }
    }
}

#[cfg(unix)]
fn key_file(files: &TlsFiles) -> Finding {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = files.key.display();
    match files.key.metadata() {
        // Access for the group is no fault: in most cases it is the group of the program that renews certificates.
        Ok(metadata) if metadata.permissions().mode() & 0o007 != 0 => {
            Warn(format!("every user can read {shown}: `chmod o= {shown}`"))
        }
        Ok(_) => Fine(format!("{shown} is not readable for every user")),
        Err(error) => Fail(format!("{shown} cannot be read: {error}")),
    }
}

#[cfg(not(unix))]
fn key_file(files: &TlsFiles) -> Finding {
    Fine(format!("{} is there", files.key.display()))
}

fn validity(pair: &Pair, now: Timestamp) -> Finding {
    let days = |duration: Duration| duration.as_secs() / (24 * 3600);
    if pair.begins_at() > now {
        return Fail("the certificate is not valid yet: is the clock right?".to_owned());
    }
    if pair.ends_at() <= now {
        let since = days(now.since(pair.ends_at()));
        return Fail(format!("the certificate expired {since} days ago: replace it"));
    }
    let left = pair.ends_at().since(now);
    if left < ENDS_SOON {
        Warn(format!("the certificate expires in {} days: replace it", days(left)))
    } else {
        Fine(format!("the key matches the certificate, which is valid for {} more days", days(left)))
    }
}

/// Whether clients of the public URL accept the certificate.
fn names(pair: &Pair, server: &ServerSettings) -> Finding {
    let url = server.public_url.clone().unwrap_or_else(|| local_url(server.listen, true));
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let parsed = ParsedCertificate::try_from(pair.leaf());
    let (Ok(name), Ok(parsed)) = (ServerName::try_from(host.clone()), parsed) else {
        return Warn(format!("the names of the certificate cannot be compared with {host}"));
    };
    match verify_server_name(&parsed, &name) {
        Ok(()) => Fine(format!("the certificate is for {host}")),
        Err(_) if server.public_url.is_none() => {
            Warn(format!("the certificate is not for {host}: set public_url to the address that it is for"))
        }
        Err(error) => Fail(format!("the certificate is not for {host}, the host of public_url: {error}")),
    }
}

/// Compares the certificate that the server at `address` presents with the files.
pub(super) async fn presented(files: &TlsFiles, address: SocketAddr) -> Finding {
    let pair = match Pair::load(files) {
        Ok(pair) => pair,
        Err(error) => return failed(error),
    };
    match tokio::time::timeout(HANDSHAKE_TIME, presented_at(address)).await {
        Ok(Ok(certificate)) if certificate == *pair.leaf() => {
            Fine(format!("the server at {address} presents this certificate"))
        }
        Ok(Ok(_)) => Warn(format!(
            "the server at {address} presents another certificate: it loads a new one within seconds, or at once after SIGHUP"
        )),
        Ok(Err(error)) => Fail(format!("the process at {address} does not speak TLS: {error}")),
        Err(_) => Fail(format!("the process at {address} does not complete the TLS handshake")),
    }
}

async fn presented_at(address: SocketAddr) -> io::Result<CertificateDer<'static>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let verifier = Arc::new(AnyCertificate(provider));
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let stream = TcpStream::connect(reachable(address)).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    presented.map(|leaf| leaf.clone().into_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The address at which this machine reaches a listener at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let url = local_url(address, true);
    url.socket_addrs(|| None).ok().and_then(|found| found.first().copied()).unwrap_or(address)
}

/// Accepts any certificate, because it is only inspected and no data is sent.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn word(finding: &Finding) -> &'static str {
        match finding {
            Fine(_) => "ok",
            Warn(_) => "warn",
            Fail(_) => "fail",
        }
    }

    fn server(public_url: Option<&str>) -> ServerSettings {
        ServerSettings {
            listen: ([127, 0, 0, 1], 8722).into(),
            public_url: public_url.map(|text| text.parse().expect(text)),
            stop_timeout: Duration::ZERO,
            tls: None,
            ops_listen: None,
            trusted_proxies: Vec::new(),
        }
    }

    /// A certificate for this machine that is valid until 2100, with its key, in a folder.
    fn files(folder: &Path) -> TlsFiles {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(2100, 12, 31);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let files = TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        std::fs::write(&files.certificate, certificate.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }

    #[test]
    fn a_certificate_is_good_for_a_time_and_for_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::load(&files(folder.path())).expect("a pair");
        let before = |days: u64| {
            let ends_ms = pair.ends_at().as_millis();
            Timestamp::from_millis(ends_ms - i64::try_from(days * 24 * 3_600_000).expect("small"))
        };
        assert_eq!(word(&validity(&pair, before(100))), "ok");
        assert_eq!(word(&validity(&pair, before(13))), "warn");
        assert_eq!(word(&validity(&pair, before(0))), "fail");
        assert_eq!(word(&validity(&pair, Timestamp::from_millis(pair.begins_at().as_millis() - 1))), "fail");
        assert_eq!(word(&names(&pair, &server(None))), "ok");
        assert_eq!(word(&names(&pair, &server(Some("https://localhost/")))), "ok");
        assert_eq!(word(&names(&pair, &server(Some("https://other.example/")))), "fail");
    }
}
