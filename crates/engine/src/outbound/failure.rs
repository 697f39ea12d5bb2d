//! What an error says about the endpoint: decided by the errors' types, told in words for people.
//!
//! Texts begin with scheme and host and show nothing else of the URL (invariant 8). Addresses that a name resolved to are
//! shown where the outbound policy refuses them all.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy;
use rustls::CertificateError;
use stackbell_model::delivery::{Outcome, Silence};

use super::connect::ConnectError;
use super::resolve::ResolveError;
use super::target::Target;

/// The first error of type `T` in a chain.
///
/// An `io::Error` that wraps another error leaves it out of its chain, so those are opened here.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
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

/// What became of a request without an answer's head.
pub(super) fn outcome(error: &legacy::Error, target: &Target) -> Outcome {
    if let Some(ours) = find::<io::Error>(error).and_then(our_fault) {
        return Outcome::OurFault { text: format!("{target}: {ours}").into() };
    }
    let (silence, reason) = match find::<ConnectError>(error) {
        Some(error) => not_connected(error),
        None => (Silence::Broken, broken(error)),
    };
    unanswered(silence, target, &reason)
}

/// The whole exchange was over before an answer's head had come.
pub(super) fn timed_out(time: Duration, target: &Target) -> Outcome {
    unanswered(Silence::TimedOut, target, &format!("no answer within {time:?}"))
}

fn unanswered(silence: Silence, target: &Target, reason: &str) -> Outcome {
    Outcome::Unanswered { silence, text: format!("{target}: {reason}").into() }
}

fn not_connected(error: &ConnectError) -> (Silence, String) {
    match error {
        ConnectError::Forbidden(refusal) => (Silence::Forbidden, refusal.to_string()),
        ConnectError::Unresolved(error) => (Silence::Unresolved, unresolved(error)),
        ConnectError::Unreachable(error) => {
            (Silence::Unreachable, format!("no connection: {}", error.kind()))
        }
        ConnectError::Tls(error) => (Silence::Unreachable, untrusted(error)),
        ConnectError::Handshake(_) => {
            (Silence::Unreachable, "the connection ended while TLS was being set up".to_owned())
        }
        ConnectError::TimedOut => (Silence::Unreachable, "TLS was not set up in time".to_owned()),
    }
}

fn unresolved(error: &ResolveError) -> String {
    match error {
        ResolveError::Unasked(source) => format!("{error}: {}", source.kind()),
        ResolveError::Failed | ResolveError::NoName | ResolveError::NoAddress | ResolveError::TimedOut => {
            error.to_string()
        }
    }
}

fn untrusted(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by no known authority; --outbound-ca-file adds one".to_owned()
        }
        rustls::Error::InvalidMessage(_) => "the port does not speak TLS".to_owned(),
        error => format!("TLS could not be set up: {error}"),
    }
}

fn broken(error: &legacy::Error) -> String {
    let Some(http) = find::<hyper::Error>(error) else {
        return "the connection ended before an answer".to_owned();
    };
    if http.is_parse() {
        // hyper tells these apart in words alone.
        "the answer is not HTTP/1.1, or its headers are too many or too long".to_owned()
    } else if let Some(error) = find::<io::Error>(http) {
        format!("the connection ended before an answer: {}", error.kind())
    } else {
        "the connection ended before an answer".to_owned()
    }
}

/// Whether we lacked something that has nothing to do with the endpoint. `ErrorKind` has no words for these;
/// the numbers are the same on every Unix.
fn our_fault(error: &io::Error) -> Option<&'static str> {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(ENFILE | EMFILE) => Some("this server has no file descriptors left"),
        Some(_) | None if error.kind() == io::ErrorKind::OutOfMemory => {
            Some("this server has no memory left")
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_and_behind_io_errors() {
        let tls = rustls::Error::DecryptError;
        let check =
            |error: &(dyn Error + 'static)| assert_eq!(find::<rustls::Error>(error), Some(&tls), "{error:?}");
        check(&tls);
        check(&io::Error::other(tls.clone()));
        check(&io::Error::other(io::Error::other(tls.clone())));
        check(&ConnectError::Unreachable(io::Error::other(tls.clone())));
        assert_eq!(find::<rustls::Error>(&io::Error::from(io::ErrorKind::Other)), None);
    }

    #[test]
    fn running_out_of_descriptors_is_our_fault() {
        let check = |code: i32, ours: bool| {
            assert_eq!(our_fault(&io::Error::from_raw_os_error(code)).is_some(), ours, "{code}");
        };
        check(24, true);
        check(23, true);
        check(12, true);
        check(111, false);
    }
}
