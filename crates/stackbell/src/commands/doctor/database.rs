//! A store on PostgreSQL: connection, schema, and the settings of its server.

mod facts;

use std::io;
use std::sync::Arc;

use stackbell_config::{DatabaseSettings, Settings};
use stackbell_server::storage::database_options;
use stackbell_store::Store;
use stackbell_store_postgres::{OpenError, Pooling, PostgresOptions, PostgresStore};

use super::{Fail, Finding, Fine, Report, Warn, failed, storage};

use facts::{Connection, Facts};

/// The oldest version of PostgreSQL with all features that the store needs, in the form of `server_version_num`.
const VERSION_MIN: i64 = 130_000;

/// The largest clock difference that is not a fault. Clocks with network time differ far less, and a smaller difference has no
/// effect.
const CLOCK_DIFFERENCE_MAX_MS: i64 = 5_000;

/// Connections of a node in addition to its pool: one listens for wake-ups.
const CONNECTIONS_BESIDE_POOL: u32 = 1;

pub(super) async fn examine(
    settings: &Settings,
    database: &DatabaseSettings,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let options = match database_options(database).await {
        Ok(options) => options,
        Err(error) => return report.add("database", failed(error)),
    };
    let Some(connection) = Connection::new(&database.text, options.url.has_tls()) else {
        return report.add("database", Fail("its URL cannot be used".to_owned()));
    };
    let facts = match connection.facts(&options).await {
        Ok(facts) => facts,
        Err(error) => {
            let error = error.context(format!("cannot connect to {}", options.url.label()));
            return report.add("database", failed(error));
        }
    };
    report.add("database", Fine(format!("{} is reached", options.url.label())))?;
    report.add("encryption", encryption(options.url.has_tls(), connection.is_local()))?;
    report.add("version", version(&facts))?;
    for setting in ["fsync", "full_page_writes"] {
        report.add(setting, durability(setting, facts.setting(setting)))?;
    }
    report.add("commits", commits(&facts))?;
    report.add("autovacuum", autovacuum(facts.setting("autovacuum")))?;
    report.add("database clock", clock(facts.clock_ahead_ms))?;
    report.add("size", Fine(format!("{} MiB", facts.bytes >> 20)))?;
    let Some(store) = schema(&options, report).await? else { return Ok(()) };
    report.add("connections", connections(database, &facts, connection.nodes(&options).await))?;
    report.add("pending", pending(store.as_ref()).await)?;
    report.add("master key", storage::master_key(settings, store.as_ref()).await)?;
    report.add("sending", storage::sending(store.as_ref()).await)
}

/// Reports the state of the schema, and returns the store if it can be used.
async fn schema(options: &PostgresOptions, report: &mut Report<'_>) -> io::Result<Option<Arc<dyn Store>>> {
    let store: Arc<dyn Store> = match PostgresStore::open(options.clone()).await {
        Ok(store) => Arc::new(store),
        Err(error @ OpenError::NotDurable { .. }) => {
            report.add("store", failed(error))?;
            return Ok(None);
        }
        Err(error) => {
            report.add("schema", failed(error))?;
            return Ok(None);
        }
    };
    let newest = PostgresStore::newest_version();
    report.add(
        "schema",
        match PostgresStore::version(options).await {
            Ok(version) if version > newest => {
                Fine(format!("schema version {version} is newer than this program's ({newest}); this program can still use it"))
            }
            Ok(version) => Fine(format!("at version {version}")),
            Err(error) => failed(error),
        },
    )?;
    let checked = match store.check().await {
        Ok(()) => Fine("can be read and written".to_owned()),
        Err(error) => failed(error),
    };
    report.add("store", checked)?;
    Ok(Some(store))
}

fn encryption(has_tls: bool, is_local: bool) -> Finding {
    match (has_tls, is_local) {
        (true, _) => Fine("TLS, and the server's certificate is checked".to_owned()),
        (false, true) => Fine("no TLS: the database is on this machine".to_owned()),
        (false, false) => Warn(
            "no TLS: the password and all data cross the network unencrypted; remove sslmode=disable from the URL"
                .to_owned(),
        ),
    }
}

fn version(facts: &Facts) -> Finding {
    let shown = facts.setting("server_version");
    match facts.number("server_version_num") {
        Some(number) if number >= VERSION_MIN => Fine(format!("PostgreSQL {shown}")),
        Some(_) => {
            Fail(format!("PostgreSQL {shown} is too old: it has to be {} at least", VERSION_MIN / 10_000))
        }
        None => Warn("the server does not say which version it is".to_owned()),
    }
}

fn durability(setting: &str, value: &str) -> Finding {
    match value {
        "off" => {
            Fail(format!("a crash can lose committed data, so servers refuse to start: turn {setting} on"))
        }
        value => Fine(value.to_owned()),
    }
}

/// The durability of commits. Our commits always wait for the disk, whatever the settings, and for synchronous standbys if there
/// are any.
fn commits(facts: &Facts) -> Finding {
    let standbys = match facts.setting("synchronous_standby_names") {
        "" => "for no standby".to_owned(),
        names => format!("for standbys ({names})"),
    };
    match facts.setting("synchronous_commit") {
        value @ ("off" | "local") => Fine(format!(
            "synchronous_commit is {value}; Stackbell's commits still wait for the disk, and {standbys}"
        )),
        _ => Fine(format!("wait for the disk, and {standbys}")),
    }
}

fn autovacuum(value: &str) -> Finding {
    match value {
        "off" => Warn("off: tables grow and queries become slow; turn it on".to_owned()),
        value => Fine(value.to_owned()),
    }
}

fn clock(ahead_ms: i64) -> Finding {
    if ahead_ms.abs() <= CLOCK_DIFFERENCE_MAX_MS {
        return Fine("agrees with this machine's clock".to_owned());
    }
    let (seconds, side) = (ahead_ms.unsigned_abs() / 1000, if ahead_ms > 0 { "ahead of" } else { "behind" });
    Warn(format!("{seconds} s {side} this machine's clock: keep both right by network time"))
}

fn connections(database: &DatabaseSettings, facts: &Facts, nodes: anyhow::Result<i64>) -> Finding {
    let each = i64::from(database.connections_max + CONNECTIONS_BESIDE_POOL);
    if database.pooling == Pooling::Transaction {
        return Fine(format!(
            "at most {each} connections to the pooler; the pooler limits those to the server"
        ));
    }
    let nodes = match nodes {
        Ok(nodes) => nodes.max(1),
        Err(error) => return failed(error),
    };
    let reserved = facts.number("superuser_reserved_connections").unwrap_or_default();
    let by_server = facts.number("max_connections").map(|most| most - reserved);
    let allowed = facts.limits.iter().copied().chain(by_server).min();
    judge_connections(each, nodes, allowed)
}

fn judge_connections(each: i64, nodes: i64, allowed: Option<i64>) -> Finding {
    let wanted = each.saturating_mul(nodes);
    let opened = match nodes {
        1 => format!("1 running node may open {each} connections"),
        _ => format!("{nodes} running nodes may open {each} connections each"),
    };
    match allowed {
        Some(allowed) if wanted > allowed => Warn(format!(
            "{opened}; the server allows {allowed}: lower database_connections, or raise max_connections or the limit of the \
             role or the database"
        )),
        Some(allowed) => Fine(format!("{opened}; the server allows {allowed}")),
        None => Fine(opened),
    }
}

async fn pending(store: &dyn Store) -> Finding {
    match store.depth().await {
        Ok(depth) => Fine(format!("{} deliveries", depth.pending)),
        Err(error) => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(finding: &Finding, expected: &str) {
        let text = match finding {
            Fine(text) => format!("ok {text}"),
            Warn(text) => format!("warn {text}"),
            Fail(text) => format!("fail {text}"),
        };
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn settings_of_the_server_are_judged() {
        check(&durability("fsync", "on"), "ok on");
        check(&durability("fsync", "off"), "fail a crash can lose committed data");
        check(&autovacuum("on"), "ok on");
        check(&autovacuum("off"), "warn off");
        check(&encryption(true, false), "ok TLS");
        check(&encryption(false, true), "ok no TLS: the database");
        check(&encryption(false, false), "warn no TLS: the password");
        check(&clock(4_999), "ok");
        check(&clock(65_000), "warn 65 s ahead of");
        check(&clock(-65_000), "warn 65 s behind");
    }

    #[test]
    fn connections_are_counted_over_all_nodes() {
        check(
            &judge_connections(17, 5, Some(97)),
            "ok 5 running nodes may open 17 connections each; the server allows 97",
        );
        check(
            &judge_connections(17, 6, Some(97)),
            "warn 6 running nodes may open 17 connections each; the server allows 97: lower",
        );
        check(&judge_connections(17, 6, None), "ok 6 running nodes may open 17 connections each");
    }
}
