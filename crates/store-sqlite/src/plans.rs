//! Tests of SQLite's query plans, for frequent queries and for tables that grow.

use rusqlite::Connection;
use stackbell_store::transfer::TABLES;

use crate::commit::{attempts, intake, lookups};
use crate::history::deliveries;
use crate::{
    audit, deployments, history, identity, instance, ledger, maintenance, queue, recoveries, rows, schema,
};
use crate::{session, sources, statistics, tokens, transfer, webhooks};

/// Whether a step reads only the rows that it needs.
fn is_good(step: &str) -> bool {
    !step.starts_with("SCAN") && !step.contains("TEMP B-TREE")
}

fn steps(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    // The plan does not depend on parameters, so none is bound.
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().expect(sql) {
        steps.push(row.get::<_, String>(3).expect("the step in words"));
    }
    steps
}

fn check(statements: &[(&str, &[&str])]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    schema::migrate(&path).expect("a new file");
    let connection = session::connect(&path, session::Access::Write).expect("a connection");
    for (sql, exceptions) in statements {
        assert!(sql.starts_with("/* "), "{sql} begins with its name");
        let bad: Vec<String> = steps(&connection, sql).into_iter().filter(|step| !is_good(step)).collect();
        assert_eq!(bad, *exceptions, "{sql}");
    }
}

#[test]
fn the_hot_path_does_not_scan() {
    check(&[
        (lookups::FIND_ORGANIZATION, &[]),
        (lookups::FIND_WEBHOOK, &[]),
        (intake::FIND_EVENT, &[]),
        (sources::FIND_CURSOR, &[]),
        (rows::event::INSERT_EVENT, &[]),
        (rows::delivery::INSERT_DELIVERY, &[]),
        (rows::attempt::INSERT_ATTEMPT, &[]),
        (attempts::FIND_NUMBER, &[]),
        (attempts::FIND_OF_WEBHOOK, &[]),
        (attempts::FOLLOW, &[]),
        (attempts::SUCCEED, &[]),
        (attempts::DELETED_BY, &[]),
        (attempts::FIND_ATTEMPT, &[]),
        (ledger::ADD_TALLY, &[]),
        (ledger::ADD_USAGE, &[]),
        (rows::webhook::UPDATE_HEALTH, &[]),
        (queue::FIND_WEBHOOK, &[]),
        (queue::LANE, &[]),
        (queue::FIND_DELIVERY, &[]),
        (queue::FIND_HELD, &[]),
        // Sorts at most a page, which is in this order already.
        (queue::DUE_LANES, &["SCAN CONSTANT ROW", "SCAN lane", "SCAN lane", "USE TEMP B-TREE FOR ORDER BY"]),
        (tokens::FIND, &[]),
        (tokens::MEMBERSHIPS, &[]),
        (tokens::ORGANIZATION, &[]),
    ]);
}

#[test]
fn requests_of_users_do_not_scan() {
    check(&[
        (history::FIND_EVENT, &[]),
        (history::LIST_EVENTS, &[]),
        (history::FIND_DELIVERY, &[]),
        (history::FIND_PING, &[]),
        (history::LIST_ATTEMPTS, &[]),
        (history::DELIVERY_ATTEMPTS, &["USE TEMP B-TREE FOR ORDER BY"]),
        (history::ATTEMPT, &[]),
        (history::PAYLOAD, &[]),
        (deliveries::WEBHOOKS, &[]),
        (deliveries::LIST, &[]),
        (deliveries::LIST_PENDING, &[]),
        (deliveries::LIST_LOST, &[]),
        (deliveries::FIND_MATCHING, &["USE TEMP B-TREE FOR ORDER BY"]),
        (deliveries::OVERVIEW, &["USE TEMP B-TREE FOR ORDER BY"]),
        (deliveries::FIND_NUMBER, &[]),
        (recoveries::FIND_CHANGED, &[]),
        (recoveries::COUNT, &[]),
        (recoveries::FIND_WEBHOOK, &[]),
        (recoveries::FIND_RUNNING, &[]),
        (recoveries::FIND, &[]),
        (recoveries::LIST, &[]),
        (recoveries::RUNNING, &["SCAN r USING INDEX recoveries_running", "USE TEMP B-TREE FOR ORDER BY"]),
        (recoveries::FIND_STEP, &[]),
        (recoveries::FIND_LOST, &[]),
        (recoveries::CANCEL, &[]),
        (recoveries::HASTEN, &[]),
        (recoveries::REARM, &[]),
        (statistics::FIND_ORGANIZATION, &[]),
        (statistics::FIND_WEBHOOK, &[]),
        (statistics::NEXT_HOUR, &[]),
        (statistics::TALLY, &[]),
        (statistics::USAGE, &[]),
        (deployments::FIND, &[]),
        (sources::SOURCE_CURSOR, &[]),
        (audit::LIST_AUDIT, &[]),
        (identity::FIND_ORGANIZATION, &[]),
        (identity::COUNT_ADMINS, &[]),
        (tokens::COUNT, &["SCAN CONSTANT ROW"]),
        (webhooks::ORGANIZATION_VERSION, &[]),
        // All of them are returned, and they are few, so an index in this order would cost more than the sort.
        (webhooks::ORGANIZATION_WEBHOOKS, &["USE TEMP B-TREE FOR ORDER BY"]),
        (webhooks::FIND_WEBHOOK, &[]),
        (webhooks::WEBHOOK, &[]),
        (webhooks::LIST_ALL_WEBHOOKS, &["USE TEMP B-TREE FOR ORDER BY"]),
        (webhooks::LIST_WEBHOOKS, &["USE TEMP B-TREE FOR ORDER BY"]),
        (webhooks::COUNT_SCOPE, &[]),
        (webhooks::FIND_EDITED, &[]),
    ]);
}

#[test]
fn maintenance_does_not_scan_tables_that_grow() {
    check(&[
        (maintenance::FIND_ORPHANS, &[]),
        (maintenance::CANCEL, &[]),
        (maintenance::FIND_AGED_LANES, &["SCAN CONSTANT ROW", "SCAN lane", "SCAN lane"]),
        (maintenance::FIND_HOLD, &[]),
        (maintenance::FIND_AGED, &[]),
        (maintenance::EXPIRE, &[]),
        (maintenance::FIND_FINISHED, &[]),
        (maintenance::REMOVE_DELIVERY, &[]),
        (maintenance::RELEASE_EVENT, &[]),
        (maintenance::REMOVE_EVENTS, &[]),
        (maintenance::REMOVE_AUDIT, &[]),
        (maintenance::REMOVE_WEBHOOKS, &[]),
        (maintenance::REMOVE_RECOVERIES, &[]),
        (maintenance::REMOVE_TALLIES, &[]),
        (instance::FIND, &["SCAN meta"]),
        (instance::IS_HELD, &["SCAN meta"]),
        // One row for each organization.
        (maintenance::COUNT_PENDING, &["SCAN organizations"]),
        (
            maintenance::LANE_DEPTHS,
            &["SCAN CONSTANT ROW", "SCAN lane", "SCAN lane", "USE TEMP B-TREE FOR ORDER BY"],
        ),
    ]);
}

#[test]
fn a_copy_scans_each_table_once() {
    for table in TABLES {
        let scan = format!("SCAN {}", table.name);
        check(&[(&transfer::select(table), &[&scan])]);
    }
}
