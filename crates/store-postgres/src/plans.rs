//! Tests of PostgreSQL's query plans, for frequent queries and for tables that grow: every plan uses an index.
//!
//! The plans are generic, and sequential scans are disabled, so that one appears only if there is no other plan. A full scan of
//! an index of a table that grows with every event is an error too, because it costs as much.

use stackbell_testkit::{Database, Postgres};
use tokio_postgres::NoTls;

use crate::commit::{attempt_rows, attempts, health, intake, lookups};
use crate::statement::Statement;
use crate::{history, ledger, maintenance, organization_lock, queue, recoveries, schema, tokens, webhooks};

/// Tables that always stay small.
const SMALL: &[&str] = &["meta", "nodes", "copies"];

/// The prefixes of tables that grow with every event. An index of another table may be scanned, because the tables are empty here
/// and the planner has no reason to prefer another plan.
const GROWING: &[&str] = &["deliveries", "event", "attempts"];

async fn migrated() -> Database {
    let server = Postgres::shared().await;
    server
        .database_like("plans", |url| async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
            let migrated = async { schema::migrate(&client, "a test").await };
            tokio::select! {
                migrated = migrated => assert!(migrated.expect("it is migrated") > 0),
                ended = connection => ended.expect("it goes on"),
            }
        })
        .await
}

fn plan(database: &Database, statement: &Statement) -> String {
    let types: Vec<String> =
        statement.types.iter().map(|one| one.name().trim_start_matches('_').to_owned()).collect();
    let typed: Vec<String> = statement
        .types
        .iter()
        .zip(&types)
        .map(|(one, name)| if one.name().starts_with('_') { format!("{name}[]") } else { name.clone() })
        .collect();
    let declared = if typed.is_empty() { String::new() } else { format!("({})", typed.join(", ")) };
    let nulls = vec!["NULL"; typed.len()].join(", ");
    let given = if typed.is_empty() { String::new() } else { format!("({nulls})") };
    database.psql(&format!(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
         PREPARE asked{declared} AS {}; EXPLAIN (COSTS OFF) EXECUTE asked{given}",
        statement.sql
    ))
}

/// The steps that scan a whole table or a whole index.
fn scans(plan: &str) -> Vec<&str> {
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    let is_scan = |at: &usize| {
        let Some((scan, table)) = lines[*at].split_once(" on ") else { return false };
        let is_one_of = |tables: &[&str]| tables.iter().any(|name| table.starts_with(name));
        let is_by_key = || lines.get(at + 1).is_some_and(|next| next.starts_with("Index Cond: "));
        let is_whole_table = scan.contains("Seq Scan") && !is_one_of(SMALL);
        let is_whole_index = scan.contains("Index") && is_one_of(GROWING) && !is_by_key();
        is_whole_table || is_whole_index
    };
    (0..lines.len()).filter(is_scan).map(|at| lines[at]).collect()
}

async fn check(statements: &[&Statement]) {
    let database = migrated().await;
    for statement in statements {
        assert!(statement.sql.starts_with("/* "), "{} begins with its name", statement.sql);
        let plan = plan(&database, statement);
        let bad = scans(&plan);
        assert!(bad.is_empty(), "{bad:?} in\n{plan}\n{}", statement.sql);
    }
}

#[tokio::test]
async fn the_hot_path_uses_indexes() {
    check(&[
        &organization_lock::LOCK_SHARED,
        &lookups::FIND_ORGANIZATIONS,
        &lookups::FIND_USAGE,
        &lookups::FIND_WEBHOOKS,
        &lookups::FIND_EVENTS,
        &intake::INSERT_IDS,
        &intake::INSERT_EVENTS,
        &intake::INSERT_DELIVERIES,
        &attempts::FOLLOW,
        &attempts::FIND_REDELIVERED,
        &attempts::SUCCEED,
        &attempts::CANCEL,
        &attempts::DELETED_BY,
        &attempts::FIND_ATTEMPT,
        &attempts::FIND_PING,
        &attempt_rows::INSERT_ATTEMPTS,
        &health::HOLD_HEALTH,
        &ledger::ADD_TALLIES,
        &ledger::ADD_USAGE,
        &queue::FIND_WEBHOOKS,
        &queue::HOLD_WEBHOOKS,
        &queue::LEASE,
        &queue::LEASE_PROBES,
        &queue::NEXT_DUE,
        &queue::RELEASE,
        &queue::DUE_LANES,
        &tokens::FIND,
        &webhooks::ORGANIZATION_WEBHOOKS,
        &webhooks::FIND_WEBHOOK,
    ])
    .await;
}

#[tokio::test]
async fn requests_and_sweeps_use_indexes() {
    check(&[
        &history::FIND_EVENT,
        &history::LIST_EVENTS,
        &history::FIND_DELIVERY,
        &history::FIND_PING,
        &history::DELIVERY,
        &history::DELIVERY_ATTEMPTS,
        &history::LIST_ATTEMPTS,
        &recoveries::COUNT,
        &recoveries::FIND,
        &recoveries::LIST,
        &recoveries::RUNNING,
        &recoveries::LOCK_LOST,
        &recoveries::CANCEL,
        &recoveries::HASTEN,
        &recoveries::REARM,
        &maintenance::FIND_AGED_LANES,
        &maintenance::CANCEL,
        &maintenance::EXPIRE,
        &maintenance::REMOVE_DELIVERIES,
        &maintenance::REMOVE_EVENTS,
        &maintenance::FOLD_TALLIES,
        &maintenance::REMOVE_TALLIES,
        &maintenance::REMOVE_AUDIT,
        &maintenance::REMOVE_COMMITS,
        &maintenance::LANE_DEPTHS,
    ])
    .await;
}
