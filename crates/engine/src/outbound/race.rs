//! Connects to one of a host's addresses, by RFC 8305 ("Happy Eyeballs"). The next address is tried if the previous one fails
//! or does not respond for a while, and the first connection wins. Only addresses that the policy allows are tried.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::address::Refusal;
use super::connect::ConnectError;
use super::policy::Refusals;
use super::reachability::Reachability;
use super::resolve::{ResolveError, Resolved};

/// The wait for an address before the next one is tried too. Source: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most addresses of a host that are tried. All of them are judged.
const ADDRESSES_TRIED_MAX: usize = 8;

/// The most addresses that are tried at the same time, so that dead addresses of an endpoint hold few sockets.
const RUNNING_MAX: usize = 4;

/// Connects to one of the addresses that `judge` allows.
///
/// # Errors
/// - [`ConnectError::Forbidden`]: no address is allowed.
/// - [`ConnectError::Unresolved`]: the host has no addresses.
/// - [`ConnectError::Unreachable`]: no address accepted a connection before `deadline`. Contains the last error.
pub(super) async fn race<S, F: Future<Output = io::Result<S>>>(
    resolved: Resolved,
    judge: impl Fn(SocketAddr) -> Result<(), Refusal>,
    connect: impl Fn(SocketAddr) -> F,
    known: &Reachability,
    deadline: Instant,
) -> Result<S, ConnectError> {
    let Resolved { addresses, unanswered, mut later } = resolved;
    let refusals = Refusals::of_half(unanswered);
    let mut line = Line { judge, known, waiting: VecDeque::new(), allowed: 0, refusals };
    line.admit(addresses);
    let mut running: Vec<Attempt<F>> = Vec::new();
    let mut tried = 0;
    let mut next_start = Instant::now();
    let mut last_error = io::Error::from(io::ErrorKind::TimedOut);
    loop {
        if tried >= ADDRESSES_TRIED_MAX {
            // Further addresses would not be tried.
            later = None;
        }
        let may_start = tried < ADDRESSES_TRIED_MAX && !line.waiting.is_empty();
        if may_start && (running.is_empty() || next_start <= Instant::now()) {
            if let Some(address) = line.waiting.pop_front() {
                if running.len() >= RUNNING_MAX {
                    known.failed(running.remove(0).address);
                }
                let started = Instant::now();
                running.push(Attempt { address, started, future: Box::pin(connect(address)) });
                tried += 1;
                next_start = started + ATTEMPT_DELAY;
            }
            continue;
        }
        if running.is_empty() && !may_start && later.is_none() {
            return Err(line.error(last_error));
        }
        tokio::select! {
            biased;
            (address, result) = first_of(&mut running) => match result {
                Ok(connection) => {
                    line.settle(Some(address), &running);
                    return Ok(connection);
                }
                Err(error) => {
                    line.failed(address);
                    last_error = error;
                    next_start = Instant::now();
                }
            },
            answer = or_pending(&mut later) => {
                later = None;
                line.refusals.unanswered = answer.as_ref().err().copied();
                line.admit(answer.unwrap_or_default());
            }
            () = sleep_until(next_start), if may_start => {}
            () = sleep_until(deadline) => {
                line.settle(None, &running);
                return Err(line.error(io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

/// A connection attempt in progress.
struct Attempt<F> {
    address: SocketAddr,
    started: Instant,
    future: Pin<Box<F>>,
}

/// Waits for the first attempt to end, and removes it from `running`.
async fn first_of<S, F: Future<Output = io::Result<S>>>(
    running: &mut Vec<Attempt<F>>,
) -> (SocketAddr, io::Result<S>) {
    poll_fn(|context| {
        for index in 0..running.len() {
            if let Poll::Ready(result) = running[index].future.as_mut().poll(context) {
                return Poll::Ready((running.remove(index).address, result));
            }
        }
        Poll::Pending
    })
    .await
}

async fn or_pending<T>(later: &mut Option<BoxFuture<'static, T>>) -> T {
    match later {
        Some(later) => later.await,
        None => pending().await,
    }
}

/// The allowed addresses that were not tried yet, and the refused ones.
struct Line<'a, J> {
    judge: J,
    known: &'a Reachability,
    waiting: VecDeque<SocketAddr>,
    allowed: usize,
    refusals: Refusals,
}

impl<J: Fn(SocketAddr) -> Result<(), Refusal>> Line<'_, J> {
    /// Judges addresses and queues the allowed ones. This is the only way into the queue.
    fn admit(&mut self, addresses: Vec<SocketAddr>) {
        let mut waiting = Vec::from(std::mem::take(&mut self.waiting));
        let before = waiting.len();
        for address in addresses {
            match (self.judge)(address) {
                Ok(()) => waiting.push(address),
                Err(refusal) => self.refusals.add(address.ip(), refusal),
            }
        }
        self.allowed += waiting.len() - before;
        self.waiting = self.known.order(waiting);
    }

    /// Records a failed address, unless it is the host's only one, which is tried in any case.
    fn failed(&self, address: SocketAddr) {
        if self.allowed > 1 {
            self.known.failed(address);
        }
    }

    /// Records the winner, and as failed the attempts that have run for at least `ATTEMPT_DELAY`.
    fn settle<F>(&self, winner: Option<SocketAddr>, running: &[Attempt<F>]) {
        if let Some(winner) = winner {
            self.known.worked(winner);
        }
        let late = |attempt: &&Attempt<F>| attempt.started.elapsed() >= ATTEMPT_DELAY;
        running.iter().filter(late).for_each(|attempt| self.failed(attempt.address));
    }

    fn error(self, last: io::Error) -> ConnectError {
        match (self.allowed, self.refusals.is_empty()) {
            (0, true) => ConnectError::Unresolved(ResolveError::NoAddress),
            (0, false) => ConnectError::Forbidden(self.refusals),
            _ => ConnectError::Unreachable(last),
        }
    }
}

#[cfg(test)]
mod tests;
