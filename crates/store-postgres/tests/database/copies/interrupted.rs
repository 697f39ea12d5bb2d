//! An interrupted copy leaves no rows, and starts again.

use std::time::Duration;

use stackbell_store::StoreError;
use stackbell_store::conformance::fixtures::World;
use stackbell_testkit::{Fault, Proxy};

use super::fill::fill;
use super::{File, begin, check_same, copy, target};
use crate::support::Site;

async fn filled() -> File {
    let file = File::new();
    let world = World::open(&file).await;
    fill(&world).await;
    file
}

fn check_no_rows(site: &Site) {
    for table in ["organizations", "events", "event_ids", "deliveries", "usage", "audit"] {
        assert_eq!(site.database.psql(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
    }
}

/// A copy is dropped at any moment, which closes the connection like the end of its process.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_copy_starts_again() {
    let file = filled().await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    let (mut patience, mut interruptions) = (Duration::from_millis(1), 0);
    let compared = loop {
        begin(&target).await;
        match tokio::time::timeout(patience, copy(&source, &target)).await {
            Ok(compared) => break compared.expect("copy"),
            Err(_) => {
                check_no_rows(&site);
                (patience, interruptions) = (patience * 4 / 3, interruptions + 1);
            }
        }
    };
    assert!(interruptions > 5, "{interruptions}");
    check_same(&source, &compared).await;
    site.check_counts();
}

/// The connection is lost before a statement arrives, or before its response does.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_starts_again_after_a_lost_connection() {
    let file = filled().await;
    let direct = Site::new().await;
    let proxy = Proxy::start(direct.database.server().port()).await;
    let site = direct.at(proxy.port());
    let source = file.to_move().await;
    for fault in [
        Fault::LoseRequest(b"ATTACH PARTITION events_d"),
        Fault::LoseAnswer(b"/* commit */"),
        Fault::LoseRequest(b"/* copy.users */"),
        Fault::LoseAnswer(b"/* copy.webhooks */"),
        Fault::LoseRequest(b"/* copy.attempts */"),
        Fault::LoseAnswer(b"/* copy.derive */"),
        Fault::LoseAnswer(b"/* compare.deliveries */"),
        Fault::LoseAnswer(b"/* copy.finish */"),
    ] {
        let target = site.store_to_copy().await;
        begin(&target).await;
        proxy.set(fault);
        let error = copy(&source, &target).await.expect_err("the connection is lost");
        assert!(matches!(error, StoreError::Unavailable { .. } | StoreError::Unknown { .. }), "{error}");
        assert_eq!(proxy.fault(), Fault::None);
        check_no_rows(&site);
    }
    let target = site.store_to_copy().await;
    begin(&target).await;
    let compared = copy(&source, &target).await.expect("copy");
    check_same(&source, &compared).await;
    site.check_counts();
}
