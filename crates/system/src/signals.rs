//! Signals that ask a process to stop.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM, from a supervisor.
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal ended, by the convention of shells: 128 plus the signal's number.
    const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The signals that ask to stop. After a value of this type is created, they no longer end the process by themselves.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses to install a handler.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses to install a handler.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// The next signal.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

/// A signal within this time after the first counts as a copy of it, because `timeout` signals both the process and its group.
const SAME_SIGNAL_WITHIN: Duration = Duration::from_secs(1);

/// Runs `stop` to its end. A second signal ends the process at once, after `flush` has written the rest of the log.
pub async fn stop_unless_hurried<T>(
    signals: &mut Signals,
    flush: impl FnOnce(),
    stop: impl Future<Output = T>,
) -> T {
    let since = Instant::now();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            stopped = &mut stop => return stopped,
            signal = signals.next() => {
                if since.elapsed() >= SAME_SIGNAL_WITHIN {
                    tracing::warn!(signal = signal.as_str(), "ended at once by a second signal");
                    flush();
                    exit(signal);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a second signal asks for the end, whatever is left undone")]
fn exit(signal: Signal) -> ! {
    std::process::exit(signal.exit_code().into())
}
