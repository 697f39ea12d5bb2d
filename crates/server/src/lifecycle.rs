//! The process and the operating system: SIGHUP, the limit of file sizes, and the service manager.

use std::io;

/// SIGHUP, the signal for reloading files. After a value of this type is created, the signal no longer ends the process.
pub struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses to install a handler.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// None: this system has no such signal.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        let hung_up = self.hangup.recv().await.is_some();
        #[cfg(not(unix))]
        let hung_up = false;
        if !hung_up {
            std::future::pending::<()>().await;
        }
    }
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) fail like a write to a full disk. By default the signal SIGXFSZ
/// would end the process. The signal is caught, not ignored, because child processes inherit ignored signals.
///
/// # Errors
/// If the system refuses to install a handler.
#[cfg(unix)]
pub fn survive_file_size_limit() -> io::Result<()> {
    let seen = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen).map(|_| ())
}

/// Does nothing: this system has no such signal.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn survive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// A message to the service manager. It is sent only if the service manager asked for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The server serves requests.
    Ready,
    /// The stop has begun.
    Stopping,
}

/// Tells the service manager.
pub fn tell_manager(milestone: Milestone) {
    #[cfg(unix)]
    {
        let state = match milestone {
            Milestone::Ready => sd_notify::NotifyState::Ready,
            Milestone::Stopping => sd_notify::NotifyState::Stopping,
        };
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, ?milestone, "the service manager could not be notified");
        }
    }
    #[cfg(not(unix))]
    let _ = milestone;
}
