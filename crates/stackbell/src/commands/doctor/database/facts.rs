//! Facts that a PostgreSQL server reports about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use stackbell_model::{Clock as _, Timestamp};
use stackbell_store_postgres::PostgresOptions;
use stackbell_system::{SecretText, SystemClock};
use tokio::task::JoinSet;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The longest time to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest time for all queries together.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// A node that has not reported itself for this long does not run.
const NODE_SEEN_WITHIN_MS: i64 = 60_000;

const SETTINGS: &str = "/* doctor.settings */ SELECT name, setting FROM pg_settings WHERE name IN \
    ('autovacuum', 'fsync', 'full_page_writes', 'max_connections', 'server_version', 'server_version_num', \
    'superuser_reserved_connections', 'synchronous_commit', 'synchronous_standby_names')";

/// The smallest limit of server, database and role; -1 is no limit.
const LIMITS: &str = "/* doctor.limits */ SELECT \
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), \
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)";

const NOW: &str = "/* doctor.clock */ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

const SIZE: &str = "/* doctor.size */ SELECT pg_database_size(current_database())";

const NODES: &str = "/* doctor.nodes */ SELECT count(*) FROM nodes WHERE seen_at > now_ms() - ";

/// The address and credentials of the server. The store's own connections do not show these facts.
pub(super) struct Connection {
    config: Config,
}

/// The facts.
pub(super) struct Facts {
    settings: BTreeMap<String, String>,
    /// The limits of database and role on connections at once, if there are any.
    pub(super) limits: Vec<i64>,
    /// The milliseconds that the server's clock is ahead of ours; negative if it is behind.
    pub(super) clock_ahead_ms: i64,
    /// The size of the database on its disk.
    pub(super) bytes: i64,
}

impl Connection {
    /// A connection with a URL that [`stackbell_store_postgres::DatabaseUrl`] accepts. `has_tls` says whether the URL asks for
    /// TLS.
    pub(super) fn new(url: &SecretText, has_tls: bool) -> Option<Self> {
        // The driver's values of `sslmode` differ from ours, so ours is removed.
        let (base, query) = url.expose().split_once('?').unwrap_or((url.expose(), ""));
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("sslmode="));
        let kept = kept.collect::<Vec<_>>().join("&");
        let mut config: Config = format!("{base}?{kept}").parse().ok()?;
        config.ssl_mode(if has_tls { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIME_MAX).application_name("stackbell doctor");
        Some(Self { config })
    }

    /// Whether all hosts are on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
    }

    /// Reads the facts from the server.
    ///
    /// # Errors
    /// If it cannot be reached, refuses the connection, or does not respond in time.
    pub(super) async fn facts(&self, options: &PostgresOptions) -> anyhow::Result<Facts> {
        self.ask(options, async |client| Facts::ask(client).await).await
    }

    /// The number of running nodes. The database must have been migrated.
    ///
    /// # Errors
    /// Those of [`Self::facts`].
    pub(super) async fn nodes(&self, options: &PostgresOptions) -> anyhow::Result<i64> {
        let sql = format!("{NODES}{NODE_SEEN_WITHIN_MS}");
        self.ask(options, async |client| client.query_typed_one(&sql, &[]).await?.try_get(0)).await
    }

    async fn ask<T>(
        &self,
        options: &PostgresOptions,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> anyhow::Result<T> {
        // Dropping the set of tasks closes the connections.
        let mut connections = JoinSet::new();
        let asked = async {
            let client = if options.url.has_tls() {
                let tls = MakeRustlsConnect::new((*options.tls).clone());
                let (client, connection) = self.config.connect(tls).await?;
                connections.spawn(connection);
                client
            } else {
                let (client, connection) = self.config.connect(NoTls).await?;
                connections.spawn(connection);
                client
            };
            ask(&client).await
        };
        Ok(tokio::time::timeout(ANSWER_TIME_MAX, asked).await.context("it does not answer in time")??)
    }
}

impl Facts {
    async fn ask(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let mut settings = BTreeMap::new();
        for row in client.query_typed(SETTINGS, &[]).await? {
            settings.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let row = client.query_typed_one(LIMITS, &[]).await?;
        let limits = [row.try_get::<_, i32>(0)?, row.try_get::<_, i32>(1)?];
        let before = SystemClock.now();
        let theirs = client.query_typed_one(NOW, &[]).await?.try_get(0)?;
        let after = SystemClock.now();
        Ok(Self {
            settings,
            limits: limits.into_iter().filter(|limit| *limit >= 0).map(i64::from).collect(),
            clock_ahead_ms: ahead(theirs, before, after),
            bytes: client.query_typed_one(SIZE, &[]).await?.try_get(0)?,
        })
    }

    /// A setting of the server; empty if the server has none of this name.
    pub(super) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A numeric setting of the server.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.setting(name).parse().ok()
    }
}

/// The milliseconds that another clock is ahead. It showed `theirs` between two readings of our clock.
fn ahead(theirs: i64, before: Timestamp, after: Timestamp) -> i64 {
    let (before, after) = (before.as_millis(), after.as_millis());
    if theirs < before {
        theirs - before
    } else if theirs > after {
        theirs - after
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_the_question_does_not_explain() {
        let check = |theirs: i64, expected: i64| {
            let (before, after) = (Timestamp::from_millis(1000), Timestamp::from_millis(1200));
            assert_eq!(ahead(theirs, before, after), expected, "{theirs}");
        };
        check(900, -100);
        check(1000, 0);
        check(1100, 0);
        check(1200, 0);
        check(1250, 50);
    }

    #[test]
    fn urls_with_our_modes_of_tls_are_understood() {
        let check = |url: &str, is_local: bool| {
            let connection = Connection::new(&SecretText::new(url.to_owned()), false).expect(url);
            assert_eq!(connection.is_local(), is_local, "{url}");
        };
        check("postgres://u:p@127.0.0.1:5433/bell?sslmode=verify-full", true);
        check("postgres://u:p@db.example.com/bell?sslmode=disable&options=-c%20a%3Db", false);
        check("postgres://u@%2Frun%2Fpostgresql/bell", true);
        check("postgres://u@localhost,db/bell", false);
    }
}
