//! Whose certificates are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why the certificates to trust could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read the certificates in {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// A certificate in the file is none.
    #[error("a certificate in {path} is not valid")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library has no protocol version to offer.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// TLS for clients. Trusted are Mozilla's authorities, those of the operating system, and those in `ca_file`.
///
/// The first come with the program, so that it works in an image that has none; the second are those of the
/// company, and of them what cannot be read or is not valid is passed over.
///
/// # Errors
/// [`TrustError`], when the file cannot be used.
pub fn client_tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = mozillas();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    config(roots, ca_file)
}

/// The same for endpoints; says in the log which of the operating system's authorities were passed over.
pub(super) fn endpoint_tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = mozillas();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read and are not trusted");
    }
    let (_, ignored_count) = roots.add_parsable_certificates(native.certs);
    if ignored_count > 0 {
        tracing::debug!(ignored_count, "some of the system's certificates are not valid and are not trusted");
    }
    config(roots, ca_file)
}

fn mozillas() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn config(mut roots: RootCertStore, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let read = |source| TrustError::Read { path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(TrustError::Empty(path.to_owned()));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|source| TrustError::Certificate { path: path.to_owned(), source })?;
    }
    Ok(())
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
