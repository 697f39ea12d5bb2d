//! The certificates that clients trust.
//!
//! Clients trust authorities, and all certificates that these have signed. Clients also trust a server's certificate if it is
//! itself in the operator's file or among those of the operating system. It may be marked as an authority, like the certificates
//! of `openssl req -x509`. Names and dates are always checked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

/// The certificates to trust cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read the certificates in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// A certificate in the file is not valid.
    #[error("a certificate in {path} is not valid")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library offers no protocol version.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// Nobody is trusted.
    #[error("there is no certificate to trust")]
    Nobody(#[source] VerifierBuilderError),
}

/// TLS for clients. It trusts Mozilla's authorities, those of the operating system, and those in `ca_file`.
///
/// Mozilla's authorities are built into the program, for container images that have none. The operating system may add a
/// company's own; unreadable and invalid certificates there are skipped. Certificates of the operating system and of the file are
/// also trusted as a server's own certificate.
///
/// # Errors
/// [`TrustError`], if the file cannot be used.
pub fn client_tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut trusted = Trusted::mozillas();
    trusted.add_natives(rustls_native_certs::load_native_certs().certs);
    trusted.config(ca_file)
}

/// Like [`client_tls`]; the log names the authorities of the operating system that were skipped.
///
/// # Errors
/// [`TrustError`], if the file cannot be used.
pub fn client_tls_logged(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut trusted = Trusted::mozillas();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read and are not trusted");
    }
    let ignored_count = trusted.add_natives(native.certs);
    if ignored_count > 0 {
        tracing::debug!(ignored_count, "some of the system's certificates are not valid and are not trusted");
    }
    trusted.config(ca_file)
}

/// SHA-256 of a certificate.
type Fingerprint = [u8; 32];

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Sha256::digest(certificate).into()
}

struct Trusted {
    authorities: RootCertStore,
    /// Certificates that are trusted as a server's own.
    listed: HashSet<Fingerprint>,
}

impl Trusted {
    fn mozillas() -> Self {
        let authorities = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { authorities, listed: HashSet::new() }
    }

    /// Returns the number of certificates that were skipped.
    fn add_natives(&mut self, certificates: Vec<CertificateDer<'static>>) -> usize {
        self.listed.extend(certificates.iter().map(fingerprint));
        self.authorities.add_parsable_certificates(certificates).1
    }

    fn add_file(&mut self, path: &Path) -> Result<(), TrustError> {
        let read = |source| TrustError::Read { path: path.to_owned(), source };
        let certificates: Vec<_> =
            CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
        if certificates.is_empty() {
            return Err(TrustError::Empty(path.to_owned()));
        }
        for certificate in certificates {
            self.listed.insert(fingerprint(&certificate));
            let added = self.authorities.add(certificate);
            added.map_err(|source| TrustError::Certificate { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    fn config(mut self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
        if let Some(path) = ca_file {
            self.add_file(path)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let usual =
            WebPkiServerVerifier::builder_with_provider(Arc::new(self.authorities), Arc::clone(&provider));
        let usual = usual.build().map_err(TrustError::Nobody)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { usual, listed: self.listed }))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// The usual verification, followed by the one for certificates that are trusted themselves.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    listed: HashSet<Fingerprint>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(_) if self.listed.contains(&fingerprint(end_entity)) => {
                verify_itself(end_entity, server_name, now)?;
                Ok(ServerCertVerified::assertion())
            }
            // webpki refuses the certificate of an authority before it looks for an issuer to trust.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if is_authority(end_entity) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Whether a certificate is valid now, for servers, and for this name. Its signature is not checked.
fn verify_itself(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let moment = |time: ASN1Time| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0)))
    };
    let not_before = moment(parsed.validity().not_before);
    let not_after = moment(parsed.validity().not_after);
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose);
    }
    let parsed = ParsedCertificate::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    verify_server_name(&parsed, server_name).map_err(|error| match error {
        Error::InvalidCertificate(error) => error,
        _ => CertificateError::NotValidForName,
    })
}

fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.is_ca())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |name: &str, text: Option<&str>, expected: &str| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                std::fs::write(&path, text).expect("written");
            }
            let error = client_tls(Some(&path)).expect_err("refused").to_string();
            assert!(error.contains(expected) && error.contains(name), "{error}");
        };
        check("absent.pem", None, "cannot read");
        check("empty.pem", Some(""), "no certificate");
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check("wrong.pem", Some(none), "not valid");
    }

    #[test]
    fn a_files_authorities_come_on_top() {
        let authority = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, authority.cert.pem()).expect("written");
        client_tls(Some(&path)).expect("usable");
        client_tls(None).expect("usable");
    }
}
