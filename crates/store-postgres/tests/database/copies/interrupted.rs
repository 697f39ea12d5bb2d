//! A copy that is cut, wherever that is, goes on where it was.

use std::time::Duration;

use stackbell_store::StoreError;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::transfer::{Copying, Import as _};
use stackbell_testkit::{Fault, Proxy};

use super::fill::fill;
use super::{File, SMALL, begin, check_same, copy, target};
use crate::support::Site;

async fn filled() -> File {
    let file = File::new();
    let world = World::open(&file).await;
    fill(&world).await;
    file
}

/// After each page another process takes it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_after_each_page() {
    let file = filled().await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    begin(&target).await;
    let (mut pages, mut rows) = (0, 0);
    loop {
        let state = target.copy_state().await.expect("copy_state").expect("it was begun");
        assert_eq!(state.progress.rows, rows);
        let mut copying = Copying::new(&source, &*target, state.id, state.progress, SMALL);
        let Some(step) = copying.step().await.expect("a page goes in") else { break };
        assert!(step.rows > rows && step.rows <= rows + u64::from(SMALL.rows_max));
        (pages, rows) = (pages + 1, step.rows);
    }
    assert!(pages > 20, "{pages}");
    check_same(&source, &target).await;
    site.check_counts();
}

/// Nobody waits for a page that is on its way: it is in whole, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_after_a_page_that_was_let_go() {
    let file = filled().await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    begin(&target).await;
    let mut patience = Duration::ZERO;
    loop {
        let state = target.copy_state().await.expect("copy_state").expect("it was begun");
        let mut copying = Copying::new(&source, &*target, state.id, state.progress, SMALL);
        // Longer each time, until it is long enough.
        patience += Duration::from_micros(200);
        match tokio::time::timeout(patience, copying.step()).await {
            Ok(step) => {
                if step.expect("a page goes in").is_none() {
                    break;
                }
            }
            Err(_) => drop(copying),
        }
    }
    check_same(&source, &target).await;
    site.check_counts();
}

/// The connection is lost while a page goes in, and while its commit is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_after_a_lost_connection() {
    let file = filled().await;
    let direct = Site::new().await;
    let proxy = Proxy::start(direct.database.server().port()).await;
    let site = direct.at(proxy.port());
    let source = file.to_move().await;
    begin(&*site.store_to_copy().await).await;
    for fault in [
        Fault::LoseRequest(b"/* import.users */"),
        Fault::LoseAnswer(b"/* import.webhooks */"),
        Fault::LoseRequest(b"ATTACH PARTITION events_d"),
        Fault::LoseRequest(b"/* import.events */"),
        Fault::LoseRequest(b"/* import.deliveries */"),
        Fault::LoseAnswer(b"/* commit */"),
        Fault::LoseRequest(b"/* import.attempts */"),
        Fault::LoseAnswer(b"/* commit */"),
    ] {
        let target = site.store_to_copy().await;
        let state = target.copy_state().await.expect("copy_state").expect("it was begun");
        proxy.set(fault);
        let mut copying = Copying::new(&source, &*target, state.id, state.progress, SMALL);
        let error = loop {
            match copying.step().await {
                Ok(step) => assert!(step.is_some(), "{fault:?} did not happen"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Unavailable { .. } | StoreError::Unknown { .. }), "{error}");
        assert_eq!(proxy.fault(), Fault::None);
    }
    let target = site.store_to_copy().await;
    copy(&source, &target, SMALL).await;
    check_same(&source, &target).await;
    site.check_counts();
}
