//! The life of the server process as the system sees it: SIGHUP, the limit of file sizes, and the service manager.

use std::io;

/// SIGHUP, which asks to read again what may have changed, from when this is made: it no longer ends the process.
pub struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let us.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// None: there is no such signal here.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
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

/// From now on a file that reaches the limit of file sizes (`ulimit -f`) is an error of the write, as a full disk is. Without
/// this the signal SIGXFSZ would end the process. It is caught and not ignored: programs that we run do not inherit that.
///
/// # Errors
/// When the system does not let us.
#[cfg(unix)]
pub fn survive_file_size_limit() -> io::Result<()> {
    let seen = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen).map(|_| ())
}

/// There is no such signal here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn survive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// What the service manager is told, where there is one that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// Requests are served.
    Ready,
    /// The end has begun.
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
            tracing::warn!(%error, ?milestone, "the service manager could not be told");
        }
    }
    #[cfg(not(unix))]
    let _ = milestone;
}
