//! `stackbell doctor` on PostgreSQL.

use stackbell_testkit::{Postgres, PostgresSettings};

use crate::support::{Cluster, NODES_KEY, command, empty_database, ended, setup, stop};

/// The exit code and output of the doctor, without the lines about this machine.
async fn doctor(store: &str, flags: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doctor = command(&["doctor", "--listen", "127.0.0.1:0"], store);
    doctor.args(flags).arg("--data").arg(folder.path()).env("STACKBELL_MASTER_KEY", NODES_KEY);
    let ran = ended(doctor).await;
    (ran.code, ran.said)
}

#[track_caller]
fn check(report: &str, expected: &[&str]) {
    for expected in expected {
        let found = report.lines().any(|line| {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            line.starts_with(expected)
        });
        assert!(found, "{expected}:\n{report}");
    }
}

#[tokio::test]
async fn a_database_at_work_is_well() {
    let cluster = Cluster::new().await;
    let node = cluster.node().await;
    let (code, report) = doctor(&cluster.database.url(), &[]).await;
    assert_eq!(code, 0, "{report}");
    check(
        &report,
        &[
            "ok database postgres://127.0.0.1:",
            "ok encryption no TLS: the database is on this machine",
            "ok version PostgreSQL ",
            "ok fsync on",
            "ok full_page_writes on",
            "ok commits wait for the disk, and for no standby",
            "ok autovacuum on",
            "ok database clock agrees with this machine's clock",
            "ok size ",
            "ok schema at version ",
            "ok store can be read and written",
            "ok connections 1 running node may open 17 connections; the server allows 197",
            "ok pending 0 deliveries",
            "ok master key opens the store's data keys",
            "ok sending not held",
        ],
    );
    assert!(!report.contains("stackbell.db"), "{report}");
    let (_, report) = doctor(&cluster.database.url(), &["--database-connections", "300"]).await;
    check(&report, &["warn connections 1 running node may open 301 connections; the server allows 197"]);
    let pooled = ["--database-pooling", "transaction"];
    check(
        &doctor(&cluster.database.url(), &pooled).await.1,
        &["ok connections at most 17 connections to the pooler"],
    );
    stop(node).await;
}

#[tokio::test]
async fn problems_are_printed_with_remedies() {
    let (code, report) = doctor("postgres://nobody@127.0.0.1:1/nowhere", &[]).await;
    assert_eq!(code, 1, "{report}");
    check(&report, &["fail database cannot connect to postgres://127.0.0.1:1/nowhere"]);

    let empty = empty_database().await;
    let (code, report) = doctor(&empty.url(), &[]).await;
    assert_eq!(code, 1, "{report}");
    check(&report, &["ok database ", "fail schema "]);
    assert!(report.contains("run `stackbell migrate`"), "{report}");

    let careless = PostgresSettings::default()
        .with("fsync", "off")
        .with("autovacuum", "off")
        .with("synchronous_commit", "off");
    let careless = Postgres::start(careless).await;
    setup().migrate(&careless.url("postgres")).await;
    let (code, report) = doctor(&careless.url("postgres"), &[]).await;
    assert_eq!(code, 1, "{report}");
    check(
        &report,
        &[
            "fail fsync a crash can lose committed data, so servers refuse to start: turn fsync on",
            "warn autovacuum off",
            "ok commits synchronous_commit is off; Stackbell's commits still wait for the disk",
            "fail store ",
        ],
    );
}
