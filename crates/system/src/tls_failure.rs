//! Describes TLS failures in words that name the remedy.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// The text for a server that wants a client certificate.
pub const ASKS_FOR_CERTIFICATE: &str =
    "the server asks for a client certificate, and Stackbell has none to show";

const NO_VERSION: &str = "the server has no TLS version in common with Stackbell, which speaks 1.2 and 1.3";

const NO_CIPHER: &str = "the server has no TLS cipher suite in common with Stackbell, which uses ECDHE with AES-GCM or \
                         ChaCha20-Poly1305";

/// The maximum number of a certificate's names that are shown.
const NAMES_SHOWN_MAX: usize = 5;

/// The reason why TLS with a server failed, for people. `asked_for_certificate` says that the server asked for a client
/// certificate; `setting` names the setting that adds certificates to trust. The text shows names and dates of the certificate
/// and nothing else that the server sent.
pub fn tls_failure(error: &Error, asked_for_certificate: bool, setting: &str) -> String {
    match error {
        Error::InvalidCertificate(error) => untrusted(error, setting),
        Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => alerted(*alert, asked_for_certificate),
        Error::PeerIncompatible(incompatible) => no_common(incompatible),
        error => format!("TLS could not be set up: {error}"),
    }
}

/// Like [`tls_failure`], for an error that may have a TLS error in its chain; `None` if it has none.
pub fn tls_failure_in(error: &(dyn StdError + 'static), setting: &str) -> Option<String> {
    find_cause::<Error>(error).map(|error| tls_failure(error, false, setting))
}

/// The first error of type `T` in a chain.
///
/// The chain of an `io::Error` does not include the error that it wraps, so wrapped errors are unwrapped here.
pub fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Whether a server refused the client because it has no certificate. In this case the server has not read a request.
pub fn is_certificate_required(error: &Error) -> bool {
    matches!(error, Error::AlertReceived(AlertDescription::CertificateRequired))
}

fn alerted(alert: AlertDescription, asked_for_certificate: bool) -> String {
    match alert {
        AlertDescription::CertificateRequired => ASKS_FOR_CERTIFICATE.to_owned(),
        // TLS 1.2 has no alert for this case, and servers choose among these.
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

/// The names of a certificate. webpki writes them as `DnsName("a.example")`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapper(#[source] io::Error);

    #[test]
    fn errors_are_found_in_and_behind_io_errors() {
        let tls = Error::DecryptError;
        let check = |error: &(dyn StdError + 'static)| {
            assert_eq!(find_cause::<Error>(error), Some(&tls), "{error:?}");
        };
        check(&tls);
        check(&io::Error::other(tls.clone()));
        check(&io::Error::other(io::Error::other(tls.clone())));
        check(&Wrapper(io::Error::other(tls.clone())));
        assert_eq!(find_cause::<Error>(&io::Error::from(io::ErrorKind::Other)), None);
    }
}
