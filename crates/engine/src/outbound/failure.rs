//! What an error says about the endpoint: decided by the errors' types, told in words for people.
//!
//! Texts begin with scheme, host and port, and show nothing else of the URL (invariant 8). Addresses that a name resolved to
//! are shown where the outbound policy refuses them all.

mod tls;

use std::error::Error;
use std::io;
use std::time::Duration;

use stackbell_model::delivery::{Outcome, Silence};

use super::connect::{ConnectError, TlsError};
use super::head::HeadError;
use super::resolve::ResolveError;
use super::target::Target;

use tls::tls_failure;
pub use tls::tls_failure_in;

/// The setting that adds certificates to those that endpoints may show.
const CA_SETTING: &str = "--outbound-ca-file";

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

/// What became of a request for which there was no connection.
pub(super) fn not_connected(error: &ConnectError, target: &Target) -> Outcome {
    if let Some(ours) = find::<io::Error>(error).and_then(our_fault) {
        return Outcome::OurFault { text: format!("{target}: {ours}").into() };
    }
    let (silence, reason) = match error {
        ConnectError::Forbidden(refusal) => (Silence::Forbidden, refusal.to_string()),
        ConnectError::Unresolved(error) => (Silence::Unresolved, unresolved(error)),
        ConnectError::Unreachable(error) => {
            (Silence::Unreachable, format!("no connection: {}", error.kind()))
        }
        ConnectError::NoName => {
            (Silence::Unreachable, "no certificate can be for a host of this name".to_owned())
        }
        ConnectError::Tls(error) => (Silence::Unreachable, no_tls(error)),
        ConnectError::TimedOut => {
            (Silence::Unreachable, "TLS was not set up in time: does the port speak TLS?".to_owned())
        }
        ConnectError::Unusable(_) => (Silence::Unreachable, "the connection could not be used".to_owned()),
    };
    unanswered(silence, target, &reason)
}

/// What became of a request whose connection ended before an answer's head. `is_unsent` says that nothing of it was written;
/// `asked_for_certificate` that the server asked for a client's certificate, and has said nothing since.
pub(super) fn lost(
    error: &hyper::Error,
    is_unsent: bool,
    asked_for_certificate: bool,
    target: &Target,
) -> Outcome {
    if let Some(error) = find::<HeadError>(error) {
        return unanswered(Silence::Broken, target, &error.to_string());
    }
    if let Some(error) = find::<rustls::Error>(error) {
        // With TLS 1.3 a server refuses a client only after the handshake, and then reads no request.
        let is_refused = tls::is_refusal(error);
        let silence = if is_refused { Silence::Unreachable } else { Silence::Broken };
        return unanswered(silence, target, &tls_failure(error, asked_for_certificate, CA_SETTING));
    }
    let silence = if is_unsent { Silence::Unreachable } else { Silence::Broken };
    let mut reason = "the connection ended before an answer".to_owned();
    if let Some(error) = find::<io::Error>(error) {
        reason = format!("{reason}: {}", error.kind());
    }
    if asked_for_certificate {
        reason = format!("{reason}; {}", tls::ASKS_FOR_CERTIFICATE);
    }
    unanswered(silence, target, &reason)
}

/// The whole exchange was over before an answer's head had come.
pub(super) fn timed_out(time: Duration, target: &Target) -> Outcome {
    unanswered(Silence::TimedOut, target, &format!("no answer within {time:?}"))
}

fn unanswered(silence: Silence, target: &Target, reason: &str) -> Outcome {
    Outcome::Unanswered { silence, text: format!("{target}: {reason}").into() }
}

fn no_tls(error: &TlsError) -> String {
    if error.is_http {
        return "the port speaks plain HTTP, and the URL says https://".to_owned();
    }
    match error.tls() {
        Some(tls) => tls_failure(tls, error.asked_for_certificate, CA_SETTING),
        None if error.asked_for_certificate => tls::ASKS_FOR_CERTIFICATE.to_owned(),
        None => "the connection ended while TLS was being set up: does the port speak TLS?".to_owned(),
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
