//! Concurrent callers for one host share one lookup.

use tokio::task::{AbortHandle, JoinSet};

use super::*;

const CALLERS: usize = 100;

#[tokio::test]
async fn concurrent_lookups_of_one_host_are_one_lookup() {
    let server = Server::start().await;
    // This answer has a TTL of 0, so it is not cached.
    let lookup = || server.names.addresses("brief.example");
    for found in join_all((0..CALLERS).map(|_| lookup())).await {
        assert_eq!(*found.expect("found").addresses, [IpAddr::from([192, 0, 2, 1])]);
    }
    assert_eq!(server.asked("brief.example"), 2, "one question for each family");
    lookup().await.expect("found");
    assert_eq!(server.asked("brief.example"), 4, "a finished lookup takes no more callers");
    join_all(["lasting.example", "middling.example"].map(|host| server.names.addresses(host))).await;
    assert_eq!((server.asked("lasting.example"), server.asked("middling.example")), (2, 2));
}

#[tokio::test]
async fn concurrent_lookups_share_their_error() {
    let server = Server::with("options attempts:1\n").await;
    let is_no_name = |error: &ResolveError| matches!(error, ResolveError::NoName);
    let is_failed = |error: &ResolveError| matches!(error, ResolveError::Failed);
    for (host, is_expected) in
        [("nobody.example", &is_no_name as &dyn Fn(&_) -> bool), ("broken.example", &is_failed)]
    {
        for found in join_all((0..CALLERS).map(|_| server.names.addresses(host))).await {
            let error = found.err().expect("an error");
            assert!(is_expected(&error), "{host}: {error:?}");
        }
        assert_eq!(server.asked(host), 2, "{host}");
    }
    let mut conf = ResolvConf::parse("", "box", |_| None);
    conf.servers = vec!["127.0.0.1:1".parse().expect("an address")];
    let names = Arc::new(Names::new(Hosts::default(), conf));
    for found in join_all((0..CALLERS).map(|_| names.addresses("lasting.example"))).await {
        let Some(ResolveError::Unasked(error)) = found.err() else { panic!("no server can be reached") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

/// Starts a lookup of `joined.example`.
fn look_up(names: &Arc<Names>, callers: &mut JoinSet<usize>) -> AbortHandle {
    let names = Arc::clone(names);
    callers.spawn(async move { names.addresses("joined.example").await.expect("found").addresses.len() })
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_no_lookup_of_others() {
    let (slow, address) = Slow::start().await;
    let server = Server::among("options no-aaaa\n", "", &[address]).await;
    let mut callers = JoinSet::new();
    let first = look_up(&server.names, &mut callers);
    let question = slow.question().await;
    for _ in 0..3 {
        look_up(&server.names, &mut callers);
    }
    tokio::task::yield_now().await;
    first.abort();
    assert!(callers.join_next().await.expect("the first").is_err_and(|error| error.is_cancelled()));
    slow.answer(question).await;
    while let Some(found) = callers.join_next().await {
        assert_eq!(found.expect("it did not give up"), 1);
    }
    assert!(slow.has_no_question() && server.names_asked().is_empty());
}

#[tokio::test]
async fn a_lookup_without_callers_ends() {
    let (slow, address) = Slow::start().await;
    let server = Server::among("options no-aaaa\n", "", &[address]).await;
    let mut callers = JoinSet::new();
    look_up(&server.names, &mut callers);
    let _lost = slow.question().await;
    callers.shutdown().await;
    look_up(&server.names, &mut callers);
    slow.answer(slow.question().await).await;
    assert_eq!(callers.join_next().await.expect("the second").expect("found"), 1);
}

/// The first question may be lost. Callers after the name server's recovery must not wait for its answer.
#[tokio::test]
async fn an_old_lookup_takes_no_more_callers() {
    let (slow, address) = Slow::start().await;
    let mut conf = ResolvConf::parse("options no-aaaa timeout:30 attempts:1\n", "box", |_| None);
    conf.servers = vec![address];
    let names = Arc::new(Names::new(Hosts::default(), conf));
    let mut callers = JoinSet::new();
    let first = look_up(&names, &mut callers);
    let _lost = slow.question().await;
    pass(Duration::from_secs(3)).await;
    look_up(&names, &mut callers);
    let question = tokio::time::timeout(SOON, slow.question()).await.expect("a question of its own");
    slow.answer(question).await;
    assert_eq!(callers.join_next().await.expect("the second").expect("found"), 1);
    assert!(!first.is_finished());
}

#[tokio::test]
async fn a_late_family_is_awaited_once_for_all_callers() {
    let server = Server::with("options timeout:1 attempts:1\n").await;
    let first = server.names.addresses("mute6.example").await.expect("found");
    let second = server.names.addresses("mute6.example").await.expect("found");
    let asked = server.asked("mute6.example");
    assert_eq!(asked, 2, "one question for each family");
    let (first, second) = (first.later.expect("it is awaited"), second.later.expect("it is awaited"));
    drop(first);
    second.await.expect_err("it is never answered");
    assert_eq!(server.asked("mute6.example"), asked);
}

#[tokio::test]
async fn lookups_in_progress_are_bounded() {
    let server = Server::with("options no-aaaa\n").await;
    for n in 0..=ANSWERS_MAX {
        server.check(&format!("brief.{n}.example"), &["192.0.2.1"]).await;
    }
    assert!(server.names.counts().1 <= ANSWERS_MAX);
}
