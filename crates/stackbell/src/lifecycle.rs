//! How a server begins and ends, as others see it: signals in, words to the service manager out.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: what supervisors send.
    Terminate,
}

impl Signal {
    /// What shells say of a process that this signal ended: 128 and its number.
    const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The signals that ask to stop, from when this is made: they no longer end the process by themselves.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let us.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let us.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// The next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

/// SIGHUP, which asks to read again what may have changed, from when this is made: it no longer ends the process.
pub(crate) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let us.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// None: there is no such signal here.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
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
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    let seen = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen).map(|_| ())
}

/// There is no such signal here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// What the service manager is told, where there is one that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// Requests are served.
    Ready,
    /// The end has begun.
    Stopping,
}

/// Tells the service manager.
pub(crate) fn tell_manager(milestone: Milestone) {
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

/// A signal that follows the first within this time is the same one: `timeout` sends it to a process and to its group.
const SAME_SIGNAL_WITHIN: Duration = Duration::from_secs(1);

/// Runs `stop` to its end, unless another signal says that nobody wants to wait for it.
pub(crate) async fn stop_unless_hurried<T>(signals: &mut Signals, stop: impl Future<Output = T>) -> T {
    let since = Instant::now();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            stopped = &mut stop => return stopped,
            signal = signals.next() => {
                if since.elapsed() >= SAME_SIGNAL_WITHIN {
                    end_at_once(signal);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a second signal asks for the end, whatever is left undone")]
fn end_at_once(signal: Signal) -> ! {
    tracing::warn!(signal = signal.as_str(), "ended at once by a second signal");
    telemetry::flush();
    std::process::exit(signal.exit_code().into())
}
