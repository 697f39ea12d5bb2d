//! The asynchronous runtime of a command.

use std::io;
use std::time::Duration;

/// The longest wait for blocking threads when a command has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a command's future to its end on a runtime of its own. A blocking thread that has not ended two seconds later is
/// abandoned, so that it cannot keep the process alive.
///
/// # Errors
/// If the runtime cannot be started.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(ended)
}
