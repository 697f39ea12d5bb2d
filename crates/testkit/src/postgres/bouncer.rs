//! A connection pooler.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::supervisor::{Supervisor, free_port, postgres_programs};
use super::{Database, Postgres, blocking, url};
use crate::wait;

/// PgBouncer in front of all databases of a server, in transaction mode. It is stopped when this is dropped.
pub struct PgBouncer {
    port: u16,
    // Dropping the supervisor stops the pooler. It gets no further orders.
    _supervisor: Mutex<Supervisor>,
}

impl PgBouncer {
    /// The pooler in front of [`Postgres::shared`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start(&Postgres::shared().await).await }).await
    }

    /// Starts a pooler in front of a server.
    pub async fn start(server: &Postgres) -> Self {
        let server_port = server.port();
        let started = blocking(move || {
            let mut supervisor = Supervisor::start(&postgres_programs());
            let port = free_port();
            supervisor.order(&format!("pool {port} {server_port}"));
            Self { port, _supervisor: Mutex::new(supervisor) }
        })
        .await;
        let address = (Ipv4Addr::LOCALHOST, started.port);
        wait::until("PgBouncer", || async { TcpStream::connect(address).await.ok() }).await;
        started
    }

    /// The URL of a database through the pooler.
    pub fn url(&self, database: &Database) -> String {
        url(self.port, database.name())
    }
}
