//! Failures of TLS in words that name the remedy.

use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::find;

pub(super) const ASKS_FOR_CERTIFICATE: &str =
    "the server asks for a client certificate, and Stackbell has none to show";

const NO_VERSION: &str = "the server has no TLS version in common with Stackbell, which speaks 1.2 and 1.3";

const NO_CIPHER: &str = "the server has no TLS cipher suite in common with Stackbell, which uses ECDHE with AES-GCM or \
                         ChaCha20-Poly1305";

/// The most names of a certificate that are shown.
const NAMES_SHOWN_MAX: usize = 5;

/// Why TLS with a server failed, for people. `asked_for_certificate` says that the server asked for a client's
/// certificate; `setting` is the one that adds certificates to trust. The text shows names and dates of the certificate and
/// nothing else that the server sent.
pub(super) fn tls_failure(error: &Error, asked_for_certificate: bool, setting: &str) -> String {
    match error {
        Error::InvalidCertificate(error) => untrusted(error, setting),
        Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => alerted(*alert, asked_for_certificate),
        Error::PeerIncompatible(incompatible) => no_common(incompatible),
        error => format!("TLS could not be set up: {error}"),
    }
}

/// The same for an error that may have one of TLS in its chain; `None` where it has none.
pub fn tls_failure_in(error: &(dyn std::error::Error + 'static), setting: &str) -> Option<String> {
    find::<Error>(error).map(|error| tls_failure(error, false, setting))
}

/// Whether a server refused the client for its lack of a certificate. It reads no request then.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::AlertReceived(AlertDescription::CertificateRequired))
}

fn alerted(alert: AlertDescription, asked_for_certificate: bool) -> String {
    match alert {
        AlertDescription::CertificateRequired => ASKS_FOR_CERTIFICATE.to_owned(),
        // TLS 1.2 has no alert of its own for it, and servers choose among these.
        AlertDescription::HandshakeFailure
        | AlertDescription::BadCertificate
        | AlertDescription::NoCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
            if asked_for_certificate =>
        {
            ASKS_FOR_CERTIFICATE.to_owned()
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NO_CIPHER.to_owned(),
        AlertDescription::ProtocolVersion => NO_VERSION.to_owned(),
        AlertDescription::UnrecognisedName => "the server has no certificate for this host".to_owned(),
        alert => format!("the server ended TLS with the alert {alert:?}"),
    }
}

fn no_common(incompatible: &PeerIncompatible) -> String {
    match incompatible {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => NO_VERSION.to_owned(),
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => NO_CIPHER.to_owned(),
        other => format!("the server's TLS does not go with Stackbell's: {other:?}"),
    }
}

fn untrusted(error: &CertificateError, setting: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "its certificate is not trusted: no known authority has signed it; {setting} adds an authority, or the \
             certificate itself where it is self-signed"
        ),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = days(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("its certificate expired {ago} ago")
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let later = days(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("its certificate is not valid yet, but in {later}: is this machine's clock right?")
        }
        CertificateError::NotValidYet => {
            "its certificate is not valid yet: is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate names no host: it needs a subjectAltName, and a common name does not count".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {} and not for {}", names(presented), expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another host".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::BadSignature => {
            "the signature of its certificate is not that of the authority it names".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed with an algorithm that is not accepted, such as SHA-1, or with too small a key"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extended key usage)".to_owned()
        }
        CertificateError::BadEncoding => "its certificate cannot be read".to_owned(),
        error => format!("its certificate is not valid: {error}"),
    }
}

fn days(seconds: u64) -> String {
    const DAY_SECONDS: u64 = Duration::from_hours(24).as_secs();
    match seconds / DAY_SECONDS {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

/// webpki gives names as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &'_ String| -> String {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let mut shown: Vec<String> = presented.iter().take(NAMES_SHOWN_MAX).map(bare).collect();
    if presented.len() > NAMES_SHOWN_MAX {
        shown.push("others".to_owned());
    }
    shown.join(", ")
}
