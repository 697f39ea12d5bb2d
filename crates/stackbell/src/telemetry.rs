//! The log: where it goes, how it looks, and that panics are in it.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The filter cannot be read.
    #[error("log_level cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is one already.
    #[error("the log cannot be set up")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the log, on standard error: standard output is for what was asked for.
///
/// # Errors
/// [`TelemetryError`].
pub(crate) fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let is_terminal = io::stderr().is_terminal();
    let is_json = match settings.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = if is_json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(is_terminal).try_init()
    };
    installed.map_err(TelemetryError::Installed)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic ends one task or request. It is a defect all the same, and must be seen where everything else is seen.
fn log_panic(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let message = info.payload_as_str().unwrap_or("a panic without a text");
    tracing::error!(
        panic.location = location,
        panic.thread = thread.name().unwrap_or_default(),
        panic.backtrace = %backtrace,
        "panicked: {message}"
    );
}
