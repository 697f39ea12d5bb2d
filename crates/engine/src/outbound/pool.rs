//! Idle connections.
//!
//! A pool groups connections by scheme, host and port, and ignores organizations. All users of one pool must have equal rules
//! of the outbound policy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::stream::Exchanging;
use super::target::Origin;
use super::tls::TlsRequests;

/// A connection that carries one request at a time. Dropping it closes the connection at once, even during an exchange.
pub(super) struct Link {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) exchanging: Arc<Exchanging>,
    pub(super) tls_requests: TlsRequests,
    /// hyper's connection task, which reads and writes.
    driver: AbortOnDropHandle<()>,
}

impl Link {
    pub(super) fn new(
        sender: SendRequest<Full<Bytes>>,
        exchanging: Arc<Exchanging>,
        tls_requests: TlsRequests,
        driver: AbortOnDropHandle<()>,
    ) -> Self {
        Self { sender, exchanging, tls_requests, driver }
    }

    /// Closes the connection with TLS's `close_notify`, which an abort would skip.
    fn close(self) {
        drop(self.sender);
        drop(self.driver.detach());
    }
}

struct Idle {
    link: Link,
    since: Instant,
}

/// Idle connections, the most recent one last.
pub(super) struct Pool {
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
    idle_time: Duration,
    idle_per_origin_max: usize,
}

impl Pool {
    pub(super) fn new(idle_time: Duration, idle_per_origin_max: usize) -> Self {
        Self { idle: Mutex::default(), idle_time, idle_per_origin_max }
    }

    /// Takes an idle connection that does not look closed.
    pub(super) fn take(&self, origin: &Origin) -> Option<Link> {
        let now = Instant::now();
        let mut idle = self.lock();
        let waiting = idle.get_mut(origin)?;
        waiting.retain(|idle| !idle.link.sender.is_closed());
        let is_good = |idle: &Idle| idle.link.sender.is_ready() && now - idle.since < self.idle_time;
        let last = waiting.iter().rposition(is_good)?;
        Some(waiting.remove(last).link)
    }

    /// Returns a connection whose last response was read to its end.
    pub(super) fn put(&self, origin: &Origin, link: Link) {
        if link.sender.is_closed() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.lock();
        match idle.get_mut(origin) {
            Some(waiting) if waiting.len() < self.idle_per_origin_max => waiting.push(Idle { link, since }),
            Some(_) => {
                drop(idle);
                link.close();
            }
            None => {
                idle.insert(origin.clone(), vec![Idle { link, since }]);
            }
        }
    }

    /// Closes connections after their idle time, as long as the pool exists.
    pub(super) async fn close_idle(pool: Weak<Self>, idle_time: Duration) {
        // A connection is closed shortly after its idle time. [`Pool::take`] does not return it in between.
        let mut ticks = interval((idle_time / 4).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = pool.upgrade() else { return };
            for idle in pool.take_old() {
                idle.link.close();
            }
        }
    }

    fn take_old(&self) -> Vec<Idle> {
        let now = Instant::now();
        let mut old = Vec::new();
        self.lock().retain(|_, waiting| {
            old.extend(waiting.extract_if(.., |idle| now - idle.since >= self.idle_time));
            waiting.retain(|idle| !idle.link.sender.is_closed());
            !waiting.is_empty()
        });
        old
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
