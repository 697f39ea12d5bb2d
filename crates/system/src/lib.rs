//! Access to the operating system, for the server and the client.
//!
//! - [`Environment`]: the variables of the process, read once
//! - [`SystemClock`], [`SystemEntropy`]: the one clock and the one seed of random numbers
//! - [`Signals`], [`block_on`]: how a command runs and stops
//! - [`client_tls`], [`tls_failure_in`]: the trusted certificates, and TLS errors in words
//! - [`printable`], [`redacted`], [`SecretText`]: text that is safe to print
//! - [`parse_duration`]: durations as people write them
//!
//! This crate does not depend on settings, routes or stores.

mod clock;
mod duration;
mod entropy;
mod environment;
mod local_url;
mod printable;
mod redact;
mod runtime;
mod secret_text;
mod signals;
mod tls_failure;
mod trust;

pub use clock::SystemClock;
pub use duration::{NotADuration, duration_text, parse_duration};
pub use entropy::SystemEntropy;
pub use environment::{Environment, EnvironmentError, VARIABLE_PREFIX};
pub use local_url::local_url;
pub use printable::{Visible, note, printable, printable_lines};
pub use redact::{origin, redacted, redacted_url};
pub use runtime::block_on;
pub use secret_text::{SecretText, read_secret, without_line_end, without_mark};
pub use signals::{Signal, Signals, stop_unless_hurried};
pub use tls_failure::{
    ASKS_FOR_CERTIFICATE, find_cause, is_certificate_required, tls_failure, tls_failure_in,
};
pub use trust::{TrustError, client_tls, client_tls_logged};
