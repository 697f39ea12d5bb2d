//! A pooler.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::supervisor::{Supervisor, free_port, postgres_programs};
use super::{Database, Postgres, blocking, url};
use crate::wait;

/// PgBouncer before all databases of a server, which gives each transaction whichever connection is free.
/// It is stopped when this is dropped.
pub struct PgBouncer {
    port: u16,
    // Ends it. Nothing is asked of it.
    _supervisor: Mutex<Supervisor>,
}

impl PgBouncer {
    /// The one before [`Postgres::shared`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start(&Postgres::shared().await).await }).await
    }

    /// One before a server.
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

    /// The URL by which it leads to a database.
    pub fn url(&self, database: &Database) -> String {
        url(self.port, database.name())
    }
}
