//! The exit codes, which scripts rely on.

use stackbell_system::EnvironmentError;
use ureq::http::StatusCode;

use crate::api::{ClientError, SettingsError};

/// Something failed.
pub const FAILURE: u8 = 1;
/// The arguments or the settings cannot be understood.
pub const USAGE: u8 = 2;
/// The server cannot be reached.
const UNREACHABLE: u8 = 3;
/// The server does not know the token, or the token lacks the right.
const DENIED: u8 = 4;
/// The object does not exist, or the token may not see it.
pub const MISSING: u8 = 5;

/// The exit codes, for the help.
pub const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 not understood, 3 no server there, 4 not allowed, 5 no such thing";

/// A usage error that is found only while the command runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub &'static str);

/// The object does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// The exit code of a command that failed with `error`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let is_misuse = error.downcast_ref::<Misuse>().is_some()
        || error.downcast_ref::<SettingsError>().is_some()
        || error.downcast_ref::<EnvironmentError>().is_some();
    if is_misuse {
        return USAGE;
    }
    if error.downcast_ref::<Missing>().is_some() {
        return MISSING;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. } | ClientError::Tls { .. }) => UNREACHABLE,
        Some(ClientError::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. }) => DENIED,
        Some(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => MISSING,
        Some(ClientError::NoToken) => USAGE,
        Some(
            ClientError::Refused { .. }
            | ClientError::NotJson { .. }
            | ClientError::Request(_)
            | ClientError::Form(_)
            | ClientError::Authorities(_),
        )
        | None => FAILURE,
    }
}
