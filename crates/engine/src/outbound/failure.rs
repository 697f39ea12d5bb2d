//! Outcomes of failed exchanges: decided by the types of errors, with a text for people.
//!
//! Texts begin with scheme, host and port, and contain nothing else of the URL (invariant 8). The resolved addresses of a name
//! are included only if the outbound policy refuses all of them.

use std::io;
use std::time::Duration;

use stackbell_model::delivery::{Outcome, Silence};
use stackbell_system::{ASKS_FOR_CERTIFICATE, find_cause, is_certificate_required, tls_failure};

use super::connect::{ConnectError, TlsError};
use super::head::HeadError;
use super::resolve::ResolveError;
use super::target::Target;

/// The setting that adds trusted certificates.
const CA_SETTING: &str = "--outbound-ca-file";

/// The outcome of a request without a connection.
pub(super) fn not_connected(error: &ConnectError, target: &Target) -> Outcome {
    if let Some(ours) = find_cause::<io::Error>(error).and_then(our_fault) {
        return Outcome::OurFault { text: format!("{target}: {ours}").into() };
    }
    let (silence, reason) = match error {
        ConnectError::Forbidden(refusal) => (Silence::Forbidden, refusal.to_string()),
        ConnectError::Unresolved(error) => (Silence::Unresolved, unresolved(error)),
        ConnectError::Unreachable(error) => {
            (Silence::Unreachable, format!("no connection: {}", error.kind()))
        }
        ConnectError::NoName => {
            (Silence::Unreachable, "the host name is not valid in a TLS certificate".to_owned())
        }
        ConnectError::Tls(error) => (Silence::Unreachable, no_tls(error)),
        ConnectError::TimedOut => {
            (Silence::Unreachable, "TLS was not set up in time: does the port speak TLS?".to_owned())
        }
        ConnectError::Unusable(_) => (Silence::Unreachable, "the connection could not be used".to_owned()),
    };
    unanswered(silence, target, &reason)
}

/// The outcome of a request whose connection ended before the head of a response. `is_unsent`: no byte of the request was
/// written. `asked_for_certificate`: the server asked for a client certificate and has sent nothing since.
pub(super) fn lost(
    error: &hyper::Error,
    is_unsent: bool,
    asked_for_certificate: bool,
    target: &Target,
) -> Outcome {
    if let Some(error) = find_cause::<HeadError>(error) {
        return unanswered(Silence::Broken, target, &error.to_string());
    }
    if let Some(error) = find_cause::<rustls::Error>(error) {
        // With TLS 1.3 a server rejects a client only after the handshake, and then reads no request.
        let is_refused = is_certificate_required(error);
        let silence = if is_refused { Silence::Unreachable } else { Silence::Broken };
        return unanswered(silence, target, &tls_failure(error, asked_for_certificate, CA_SETTING));
    }
    let silence = if is_unsent { Silence::Unreachable } else { Silence::Broken };
    let mut reason = "the connection ended before a response".to_owned();
    if let Some(error) = find_cause::<io::Error>(error) {
        reason = format!("{reason}: {}", error.kind());
    }
    if asked_for_certificate {
        reason = format!("{reason}; {}", ASKS_FOR_CERTIFICATE);
    }
    unanswered(silence, target, &reason)
}

/// The outcome if the time limit passed before the head of a response arrived.
pub(super) fn timed_out(time: Duration, target: &Target) -> Outcome {
    unanswered(Silence::TimedOut, target, &format!("no response within {time:?}"))
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
        None if error.asked_for_certificate => ASKS_FOR_CERTIFICATE.to_owned(),
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

/// Returns our own fault, if the error is one: this machine lacks a resource. `ErrorKind` does not name these errors, but their
/// numbers are equal on every Unix.
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
