//! TLS of the listener: a certificate and its key from two PEM files, reloaded on change.
//!
//! New connections get the last usable pair; open connections keep theirs. The two files change one after the other, so new
//! contents are used only after two looks in a row have found them. An unusable pair is logged once, and the last usable pair
//! stays in use.
//!
//! Only HTTP/1.1 is offered. The limits on idle clients, slow heads and unread responses are limits of a connection, and HTTP/2
//! has its own flow control between a connection and its requests. A proxy in front may speak HTTP/2.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use stackbell_config::TlsFiles;
use stackbell_model::{Chain, Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

/// The interval between looks at the files. They are small, and a certificate changes every few weeks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A certificate that expires sooner than this is logged once a day.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {path}")]
    Read {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file has the wrong contents.
    #[error("{setting}: {path} holds no PEM of {what}")]
    Pem {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The expected contents.
        what: &'static str,
        /// The reason.
        #[source]
        source: pem::Error,
    },
    /// The certificate cannot be read.
    #[error("tls_cert: the first certificate in {0} is damaged")]
    Certificate(PathBuf),
    /// Certificate and key do not match, or their type is not supported.
    #[error("tls_cert ({certificate}) and tls_key ({key}) are not a usable pair")]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
}

/// A certificate with its key, ready to serve.
#[derive(Clone)]
pub struct Pair {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    digest: [u8; 32],
    begins_at: Timestamp,
    ends_at: Timestamp,
}

impl Pair {
    /// Reads the files. Blocks while it does so.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Text::read(files)?.parse(files)
    }

    /// The certificate itself, without the rest of its chain.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The start of its validity.
    pub fn begins_at(&self) -> Timestamp {
        self.begins_at
    }

    /// The end of its validity.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair(until {})", self.ends_at.as_millis())
    }
}

/// The contents of the two files.
struct Text {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Text {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |setting, path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::Read { setting, path: path.clone(), source })
        };
        let certificate = read("tls_cert", &files.certificate)?;
        Ok(Self { certificate, key: Zeroizing::new(read("tls_key", &files.key)?) })
    }

    fn digest(&self) -> [u8; 32] {
        let length = u64::try_from(self.certificate.len()).expect("it is in memory").to_le_bytes();
        let parts = [&length[..], &self.certificate, &self.key];
        parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
    }

    fn parse(&self, files: &TlsFiles) -> Result<Pair, TlsError> {
        let (certificate, key) = (files.certificate.clone(), files.key.clone());
        let no_certificate = |source| {
            let path = files.certificate.clone();
            TlsError::Pem { setting: "tls_cert", path, what: "a certificate", source }
        };
        let no_key = |source| TlsError::Pem {
            setting: "tls_key",
            path: files.key.clone(),
            what: "a private key",
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(no_certificate)?;
        let leaf = chain.first().ok_or_else(|| no_certificate(pem::Error::NoItemsFound))?.clone();
        let (begins_at, ends_at) =
            validity(&leaf).ok_or_else(|| TlsError::Certificate(certificate.clone()))?;
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(no_key)?;
        let config = server_config(chain, private);
        let config = config.map_err(|source| TlsError::Pair { certificate, key, source })?;
        Ok(Pair { config: Arc::new(config), leaf, digest: self.digest(), begins_at, ends_at })
    }
}

/// Fails if the key does not belong to the certificate.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The validity of a certificate; `None` if it cannot be parsed.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let validity = parsed.validity();
    Some((moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp())))
}

/// The current pair, and its files.
pub struct Certificates {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    pair: Pair,
    /// The digest of the files at the last look, if it differs from the pair.
    seen: Option<[u8; 32]>,
    /// The last logged problem, which is not logged again.
    told: Option<Told>,
    warned_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Unusable([u8; 32]),
    Unreadable,
}

/// The result of a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They hold the current pair.
    Same,
    /// They hold something else, perhaps half of a change.
    Changing,
    /// The new pair is used from now on.
    Taken,
    /// The new pair cannot be used.
    Refused,
}

impl Certificates {
    /// Reads the files. Blocks while it does so.
    ///
    /// # Errors
    /// [`TlsError`], which must stop the start of the server.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let pair = Pair::load(&files)?;
        let state = State { pair, seen: None, told: None, warned_at: None };
        Ok(Self { files, state: Mutex::new(state) })
    }

    /// The configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().pair.config)
    }

    /// Looks at the files at intervals until `end`.
    pub async fn watch(self: Arc<Self>, clock: Arc<dyn Clock>, end: CancellationToken) {
        loop {
            self.warn_of_the_end(clock.now());
            if end.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_none() {
                return;
            }
            Arc::clone(&self).look_on_thread(false).await;
        }
    }

    /// Reloads the files now, without a second look, because the operator confirms that they are complete.
    pub async fn reload(self: Arc<Self>) {
        match self.look_on_thread(true).await {
            Some(Look::Same) => tracing::info!("the TLS certificate has not changed"),
            // The look itself has logged this result.
            Some(Look::Changing | Look::Taken | Look::Refused) | None => {}
        }
    }

    async fn look_on_thread(self: Arc<Self>, is_whole: bool) -> Option<Look> {
        let looked = tokio::task::spawn_blocking(move || self.look(is_whole)).await;
        // A panic was logged already, and the process may be ending.
        looked.ok()
    }

    /// Looks at the files; `is_whole` means that the operator has confirmed that they are complete.
    fn look(&self, is_whole: bool) -> Look {
        let text = Text::read(&self.files);
        let mut state = self.lock();
        if is_whole {
            state.told = None;
        }
        match text {
            Err(error) => state.refuse(Told::Unreadable, &error),
            Ok(text) => state.judge(&text, &self.files, is_whole),
        }
    }

    fn warn_of_the_end(&self, now: Timestamp) {
        let mut state = self.lock();
        let is_due = state.warned_at.is_none_or(|at| now.since(at) >= DAY);
        if !is_due || state.pair.ends_at.since(now) >= ENDS_SOON {
            return;
        }
        state.warned_at = Some(now);
        let days = state.pair.ends_at.since(now).as_secs() / DAY.as_secs();
        let path = self.files.certificate.display();
        if state.pair.ends_at <= now {
            tracing::error!(%path, "the TLS certificate has expired, and clients refuse it: replace it");
        } else {
            tracing::warn!(%path, days, "the TLS certificate expires soon: replace it");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(&mut self, text: &Text, files: &TlsFiles, is_whole: bool) -> Look {
        let digest = text.digest();
        let was_seen = self.seen.replace(digest) == Some(digest);
        if digest == self.pair.digest {
            (self.seen, self.told) = (None, None);
            return Look::Same;
        }
        if !was_seen && !is_whole {
            return Look::Changing;
        }
        match text.parse(files) {
            Err(error) => self.refuse(Told::Unusable(digest), &error),
            Ok(pair) => {
                *self = Self { pair, seen: None, told: None, warned_at: None };
                tracing::info!("the TLS certificate has changed: new connections get the new one");
                Look::Taken
            }
        }
    }

    fn refuse(&mut self, what: Told, error: &TlsError) -> Look {
        if self.told.replace(what) != Some(what) {
            tracing::error!(error = %Chain(error), "the TLS certificate was not changed; the previous one stays in use");
        }
        Look::Refused
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
