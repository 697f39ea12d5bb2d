//! The log: its destination and format, and the logging of panics.
//!
//! - `lines`: the queue between loggers and standard error

mod lines;

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use stackbell_config::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

use self::lines::Lines;

/// The log of this process, once it was started. It is global, because the subscriber and the panic hook are global too.
static LINES: OnceLock<Lines> = OnceLock::new();

/// The longest time that the end of the process waits for the reader of standard error.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log_level cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The system gives no thread for the writer.
    #[error("the log cannot be set up")]
    Thread(#[source] io::Error),
    /// There is a log already.
    #[error("the log cannot be set up")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the log on standard error; standard output is for results.
///
/// Failed writes to standard error return no error: they neither delay nor end the process. See `lines`.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let is_terminal = io::stderr().is_terminal();
    let is_json = match settings.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = LINES.get_or_init(Lines::default);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        // The subscriber would print its internal errors to standard error directly, and would panic if that fails.
        .log_internal_errors(false);
    let installed = if is_json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(is_terminal).try_init()
    };
    installed.map_err(TelemetryError::Installed)?;
    lines.write_to(io::stderr()).map_err(TelemetryError::Thread)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The counter of lines that are left out of the log.
pub fn lines_left_out() -> Counter {
    LINES.get_or_init(Lines::default).left_out()
}

/// Waits until the log is written, but at most a second: the reader of standard error may have stopped.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_TIME);
    }
}

/// Writes a last line to standard error, after all of the log. Waits no longer than [`flush`].
pub fn say_last(line: &str) {
    let mut line = line.to_owned();
    line.push('\n');
    match LINES.get() {
        Some(lines) => {
            lines.push(line.into_bytes());
            lines.flush(FLUSH_TIME);
        }
        None => {
            let (done, is_done) = channel();
            // If standard error is gone, there is no other place for the line.
            let writing = std::thread::Builder::new().spawn(move || {
                let _ = io::stderr().write_all(line.as_bytes());
                let _ = done.send(());
            });
            if writing.is_ok() {
                let _ = is_done.recv_timeout(FLUSH_TIME);
            }
        }
    }
}

/// Logs a panic. It ends only one task or request, but it is a defect and must be in the log.
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
